"""docs/first-hour.md, as a reader would: every ```bash block in one shell, in an empty folder, none may fail."""

import os
import re
import subprocess

import muster_runs as m


def main():
    text = (m.SOURCE / "docs" / "first-hour.md").read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.M | re.S)
    m.check(len(blocks) >= 7, f"{len(blocks)} blocks")
    quickstart = re.search(r"^    (bash examples/\S+)$", text, re.M).group(1)
    m.check((m.SOURCE / quickstart.split()[1]).is_file(), f"{quickstart}: the README's first command, run by itself")
    with m.Scratch() as scratch:
        environment = dict(m.ENVIRONMENT, PATH=f"{os.path.dirname(m.MUSTER)}:{os.environ['PATH']}")
        script = "set -euo pipefail\n" + "\n".join(f"echo '== block {i}'\n{block}" for i, block in enumerate(blocks, 1))
        done = subprocess.run(["bash", "-c", script], cwd=scratch, env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, timeout=280)
        m.check(done.returncode == 0, f"ends with {done.returncode}:\n{done.stdout[-3000:]}")
        for says in ("DECIDE", "role: key", "rows in 4 partitions", "finished", "probability", "ended with 65", "is below the least",
                     "minutes_used  is gone", "does not fit"):
            m.check(says in done.stdout, f"'{says}' in the output:\n{done.stdout[-6000:]}")
        auc = float(re.search(r"test': .*?auc ([0-9.]+)", done.stdout).group(1))
        print(f"AUC on later subscriptions: {auc}")
        m.check(0.65 < auc < 0.9, f"AUC {auc}: honest data of this make have about 0.74")


main()
