"""Takes out, one at a time, what keeps checkpoints safe, and expects the crash trials to notice. Each mutation is a change of the
source in a copy of the tree; the trials are built without torch. Only with MUSTER_TEST_FULL=1: minutes.

mutation_test.py [NAME...]: all, or some."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ["MUSTER_SOURCE"])

STORE, PART = "trainer/checkpoint/checkpoint_store.cpp", "trainer/checkpoint/checkpoint_part.cpp"
LINEAGE = "trainer/checkpoint/checkpoint_lineage.cpp"
MUTATIONS = {
    "fsync of files": [(PART, "  out->sync();\n", "")],
    "fsync of the draft": [(PART, "  files.sync_directory(draft);\n", ""), (STORE, "  files_->sync_directory(draft);\n", "")],
    "fsync after the rename": [(STORE, "directory_ / name);\n  files_->sync_directory(directory_);\n", "directory_ / name);\n")],
    "rename before the manifest": [
        (STORE, "  const FileStamp stamp =\n      write_file(*files_, draft / kManifest,",
         "  files_->rename(draft, directory_ / name);\n  const FileStamp stamp =\n"
         "      write_file(*files_, directory_ / name / kManifest,"),
        (STORE, "check_file(*files_, draft / kManifest, stamp, true);\n  files_->sync_directory(draft);\n"
                "  if (files_->exists(directory_ / name)) discard(name);",
         "check_file(*files_, directory_ / name / kManifest, stamp, true);\n"),
        (STORE, "  files_->rename(draft, directory_ / name);\n  files_->sync_directory(directory_);",
         "  files_->sync_directory(directory_ / name);\n  files_->sync_directory(directory_);")],
    "hash check": [(PART, "if (found.sha256 != stamp.sha256)", "if (false)")],
    "fencing by lineage": [(LINEAGE, " && name.step <= newest.step)", ")")],
    "fencing by claim": [(STORE, "  if (highest == generation_) return;", "  return;")],
    "fencing of what is deleted": [(STORE, "name && name->generation <= generation_ && kept", "name && kept")],
    "fsync of a claim": [(LINEAGE, "    file->sync();\n", "")],
    "fsync of the claims": [(LINEAGE, "  if (won) files.sync_directory(claims);\n", "")],
    "keeping two": [(STORE, "if (good_ones == rule.newest) continue;", "if (good_ones == 1) continue;")],
}


def build(tree):
    subprocess.run(["cmake", "--build", tree / "build", "--target", "crash_trial_test"], check=True, capture_output=True)
    return subprocess.run([tree / "build/tests/trainer/crash_trial_test"], capture_output=True, text=True)


def main():
    if os.environ.get("MUSTER_TEST_FULL") != "1":
        print("only with MUSTER_TEST_FULL=1")
        return 77
    with tempfile.TemporaryDirectory(prefix="muster-mutation-") as scratch:
        tree = pathlib.Path(scratch) / "tree"
        shutil.copytree(SOURCE, tree, ignore=shutil.ignore_patterns("build", ".git"))
        subprocess.run(["cmake", "-S", tree, "-B", tree / "build", "-G", "Ninja", "-DMUSTER_WITH_TORCH=OFF",
                        "-DMUSTER_BUILD_TESTS=ON", "-DCMAKE_BUILD_TYPE=Release"], check=True, capture_output=True)
        whole = build(tree)
        if whole.returncode != 0:
            raise SystemExit(f"fails without a mutation:\n{whole.stdout[-2000:]}")
        missed = []
        wanted = sys.argv[1:] or list(MUTATIONS)
        os.environ.pop("MUSTER_TEST_FULL")  # the small size finds them all
        for name, changes in ((name, MUTATIONS[name]) for name in wanted):
            originals = {file: (tree / file).read_text() for file, _, _ in changes}
            for file, old, new in changes:
                text = (tree / file).read_text()
                if old not in text:
                    raise SystemExit(f"{name}: {file} has no '{old}' any more: adapt this test")
                (tree / file).write_text(text.replace(old, new))
            result = build(tree)
            lines = [line for line in result.stdout.splitlines() if ": " in line and ("fault" in line or "operation " in line)]
            print(f"{name}: {'noticed' if result.returncode else 'NOT NOTICED'}: {lines[0] if lines else ''}", flush=True)
            if result.returncode == 0:
                missed.append(name)
            for file, text in originals.items():
                (tree / file).write_text(text)
        if missed:
            raise SystemExit(f"not noticed: {', '.join(missed)}")
    return 0


sys.exit(main())
