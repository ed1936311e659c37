"""Makes tests/kept/VERSION: what this version leaves behind, for integration.kept of all later ones.

    python3 tests/kept/make.py MUSTER VERSION

Run it when VERSION is released, and never again for the same one: what is there then is what users have. (Until a version is released its
folder follows the formats.)
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

MODEL = {"name": "tabular", "width": 8, "blocks": 1}


def main():
    muster, version = os.path.abspath(sys.argv[1]), sys.argv[2]
    target = pathlib.Path(__file__).resolve().parent / version
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")

    def run(*arguments, ranks=0, expect=0):
        start = ["mpirun", "-np", str(ranks), "--oversubscribe", "--bind-to", "none"] if ranks else []
        done = subprocess.run([*start, muster, *map(str, arguments), "--json"], cwd=scratch, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != expect:
            sys.exit(f"{arguments} ended with {done.returncode}: {done.stderr}")
        return json.loads(done.stdout.strip().splitlines()[-1]) if expect == 0 else None

    with tempfile.TemporaryDirectory() as directory:
        scratch = pathlib.Path(directory)
        run("generate", "card-fraud", "--rows", 1200, "--partitions", 3, "--out", "data")
        fingerprint = run("validate", "data")["fingerprint"]
        config = {"run": {"name": "kept", "dir": "runs"}, "data": {"dataset": "data"}, "model": MODEL, "loss": {"kind": "binary"},
                  "batch": {"size": 32, "lanes": 4}, "train": {"steps": 60, "threads": 1}, "checkpoint": {"every_steps": 15},
                  "evaluate": {"every_steps": 15, "choose_threshold": "f1", "calibrate": "temperature"}, "log": {"tensorboard": False}}
        (scratch / "kept.yaml").write_text(json.dumps(config))
        finished = run("train", "kept.yaml", ranks=2)
        shutil.rmtree(scratch / "runs")
        run("train", "kept.yaml", "--drill", "kill@31:1", ranks=2, expect=137)
        explained = run("explain", "runs/kept")
        test = run("evaluate", "runs/kept", "--split", "test")["metrics"]
        expected = {"fingerprint": fingerprint, "model": MODEL, "finished": {"running_digest": finished["running_digest"]},
                    "stopped": {key: explained[key] for key in ("running_digest", "step")}, "test": test}
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for part in ("data", "runs"):
            shutil.copytree(scratch / part, target / part)
        (target / "runs/kept/run.lock").unlink(missing_ok=True)
        for draft in (target / "runs/kept/checkpoints").glob(".tmp-*"):
            shutil.rmtree(draft)
        (target / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    print(f"{target}: {size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
