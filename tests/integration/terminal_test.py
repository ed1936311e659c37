"""A progress line that is drawn over where somebody watches, plain lines in files: also under mpirun, which gives every rank a
terminal of its own and writes what comes out of it wherever its own output goes."""

import os
import pty
import re
import subprocess

import muster_runs as m


def watched(command):
    """What a terminal is shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, env=m.ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.STDOUT)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    m.check(process.wait() == 0, f"exit code {process.returncode}:\n{shown.decode()}")
    return shown.decode()


def main():
    with m.Scratch() as scratch:
        m.run("generate", "tabular", "--rows", 4000, "--partitions", 2, "--seed", 5, "--out", scratch / "data")
        m.run("validate", scratch / "data")

        def train(name, ranks):
            config = m.write_config(scratch / f"{name}.yaml", run={"name": name, "dir": str(scratch / "runs")},
                                    data={"dataset": str(scratch / "data")}, model={"name": "mlp", "hidden": [8]},
                                    batch={"size": 64, "lanes": 8}, train={"epochs": 1, "threads": 1}, log={"every_steps": 10})
            return m.command("train", config, ranks=ranks)

        for ranks in (0, 2):
            plain = m.run(*train(f"plain-{ranks}", ranks)[-2:], ranks=ranks).stdout
            m.check("\x1b" not in plain and "\r" not in plain, f"{ranks} ranks: drawn over in a file:\n{plain!r}")
            lines = [line for line in plain.splitlines() if line.startswith("step ") and "ETA" in line]
            m.check(len(lines) >= 3, f"{ranks} ranks: {len(lines)} progress lines in a file:\n{plain}")
            drawn = watched(train(f"drawn-{ranks}", ranks))
            m.check(len(re.findall("\rstep [0-9]+/.*?ETA .*?\x1b\\[K", drawn)) >= 3,
                    f"{ranks} ranks: not drawn over on a terminal:\n{drawn!r}")


main()
