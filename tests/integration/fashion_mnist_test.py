"""The shipped configurations on the real images, by the shipped prepare script, on 2 ranks. Short here; the full runs, which must
reach the README's accuracies, with MUSTER_TEST_FULL=1. Skipped without the data."""

import os
import pathlib
import subprocess
import sys

import muster_runs as m

SOURCE = pathlib.Path(os.environ["MUSTER_SOURCE"])


def main():
    folder = pathlib.Path(os.environ.get("MUSTER_DATA", "")) / "fashion-mnist"
    if not os.environ.get("MUSTER_DATA") or not folder.exists():
        print("skipped: MUSTER_DATA has no fashion-mnist")
        sys.exit(77)
    done = subprocess.run(["bash", SOURCE / "examples/fashion-mnist/prepare.sh"], capture_output=True, text=True, check=False)
    m.check(done.returncode == 0, done.stdout + done.stderr)
    floors = {"mlp": 0.88, "convnet": 0.90} if m.FULL else {"mlp": 0.82}
    with m.Scratch() as scratch:
        for name, floor in floors.items():
            short = [] if m.FULL else ["--set", "train.epochs=1"]
            result = m.run_json("train", SOURCE / f"configs/fashion-mnist-{name}.yaml", "--set", f"run.dir={scratch}",
                                "--set", f"data.dataset={SOURCE}/data/fashion-mnist", *short, ranks=2, timeout=3000)
            metrics = m.run_json("evaluate", result["directory"], ranks=2)["metrics"]
            print(f"{name}: test accuracy {metrics['accuracy']:.4f}")
            m.check(metrics["rows"] == 10000, "all test rows")
            m.check(metrics["accuracy"] >= floor, f"{name}: accuracy {metrics['accuracy']} is below {floor}")


main()
