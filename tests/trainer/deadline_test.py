#!/usr/bin/env python3
"""A rank that never joins a collective: all ranks end, with exit code 69 and a line that says what was waited for.

usage: deadline_test.py PROGRAM MPIRUN [ARGUMENT...]
"""
import re
import subprocess
import sys
import time


def check(mpirun, program, mode, name, missing):
    started = time.monotonic()
    result = subprocess.run([*mpirun, "-np", "3", "--oversubscribe", "--bind-to", "none", program, mode],
                            capture_output=True, text=True, timeout=100)
    seconds = time.monotonic() - started
    line = rf"^(rank [12] on \S+ \(pid \d+\): )?collective '{name}' \(#1, step 0\) has waited \S+ m?s{missing}$"
    problems = []
    if result.returncode != 69:
        problems.append(f"exit code {result.returncode}, not 69")
    if not re.search(line, result.stderr, re.MULTILINE):
        problems.append(f"no line on stderr like {line}")
    if seconds > 30:
        problems.append(f"it took {seconds:.0f} s")
    for problem in problems:
        print(f"{mode}: {problem}\n{result.stderr}")
    return not problems


def main():
    program, mpirun = sys.argv[1], sys.argv[2:]
    missing = r" for rank 0 on \S+ \(pid \d+\), in phase '' at step 0"
    good = [check(mpirun, program, "waiting", "verdict", missing),
            check(mpirun, program, "started", "gradients bucket 3", missing),
            check(mpirun, program, "frozen", "verdict", ", and rank 0 does not answer"),
            check(mpirun, program, "frozen other", "verdict", r" for rank 1 on \S+ \(pid \d+\), in phase '' at step 0")]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
