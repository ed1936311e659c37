"""The extrapolated table of docs/scaling.md is what tests/bench/scaling.py says."""

import pathlib
import subprocess
import sys

root = pathlib.Path(sys.argv[1])
said = subprocess.run([sys.executable, "-B", str(root / "tests/bench/scaling.py"), "--extrapolate"], capture_output=True, text=True, check=True).stdout.strip()
if not said or said not in (root / "docs/scaling.md").read_text():
    sys.exit(f"docs/scaling.md has another table than this:\n{said}")
