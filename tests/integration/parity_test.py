"""Muster's losses beside those that PyTorch DDP made of the same weights, batches, optimizer and schedule (kept by
tests/bench/parity_vs_ddp.sh, which runs both): an mlp and a gpt, 200 steps on 2 ranks."""

import json
import sys

import muster_runs as m

sys.path.insert(0, str(m.SOURCE / "tests/bench"))
import parity_cases as cases  # noqa: E402


def main():
    kept = json.loads(cases.KEPT.read_text())["cases"]
    m.check(kept.keys() == cases.CASES.keys(), f"kept: {kept.keys()}")
    for name in cases.CASES:
        with m.Scratch() as folder:
            ours = cases.muster_half(name, cases.prepare(name, folder), folder)
            cases.check_same(name, kept[name]["depends_on"], ours["depends_on"])
            cases.compare(name, ours["losses"], kept[name]["losses"])


main()
