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
    line = (rf"^rank [12] on \S+: collective '{name}' \(#1\) has waited \S+ m?s for {missing}$")
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
    good = [check(mpirun, program, "waiting", "verdict", "rank 0, not in it yet"),
            check(mpirun, program, "started", "gradients bucket 3", "rank 0, not in it yet"),
            check(mpirun, program, "frozen", "verdict", "rank 0, without an answer")]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
