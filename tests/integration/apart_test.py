"""Ranks that share no memory (each has processes of its own, as on another host) sum by messages: the same bits as in
shared memory, other ones in bfloat16, which the run records."""

import hashlib
import subprocess
import sys

import muster_runs as m

APART = ["unshare", "--pid", "--fork", "--mount-proc"]


def main():
    if subprocess.run([*APART, "true"], capture_output=True, check=False).returncode != 0:
        print("skipped: this user may not make process namespaces (unshare)")
        sys.exit(77)
    with m.Scratch() as scratch:
        m.run("generate", "tabular", "--rows", 2000, "--partitions", 2, "--out", scratch / "data")
        m.run("validate", scratch / "data")
        program = scratch / "muster-apart"
        program.write_text(f"#!/bin/sh\nexec {' '.join(APART)} '{m.MUSTER}' \"$@\"\n")
        program.chmod(0o755)

        def train(name, ranks, precision, **options):
            file = m.write_config(scratch / f"{name}.yaml", run={"name": name, "dir": str(scratch / "runs")},
                                  data={"dataset": str(scratch / "data")}, model={"name": "mlp", "hidden": [64, 64]},
                                  batch={"size": 96, "lanes": 12}, evaluate={"split": ""},
                                  train={"steps": 12, "threads": 1, "sum_precision": precision})
            m.run("train", file, ranks=ranks, **options)
            run = scratch / "runs" / name
            weights = (run / "checkpoints/g0001-step-00000012/model-00001-of-00001.safetensors").read_bytes()
            started = next(e for e in m.events(run) if e["event"] == "run_started")
            losses = [e["loss"] for e in m.events(run) if e["event"] == "step"]
            return started["environment"]["sums"], hashlib.sha256(weights).hexdigest(), losses

        apart = {"program": str(program), "environment": {"OMPI_MCA_btl": "tcp,self"}}
        for ranks in (2, 3):
            sums, shared, losses = train(f"shared-{ranks}", ranks, "float32")
            m.check(sums == "in rank order", f"in shared memory: {sums}")
            sums, weights, _ = train(f"apart-{ranks}", ranks, "float32", **apart)
            m.check(sums == "in rank order" and weights == shared, f"apart, {ranks} ranks: {sums}, {weights}, shared memory: {shared}")
            sums, weights, narrow = train(f"narrow-{ranks}", ranks, "bfloat16", **apart)
            m.check(sums == "in rank order, sent as bfloat16" and weights != shared, f"bfloat16, {ranks} ranks: {sums}")
            off = max(abs(a - b) / b for a, b in zip(narrow, losses))
            m.check(0 < off < 0.01, f"bfloat16, {ranks} ranks: losses are off by {off}")
            # Memory that ranks share needs no rounding.
            sums, weights, _ = train(f"narrow-shared-{ranks}", ranks, "bfloat16")
            m.check(sums == "in rank order" and weights == shared, f"bfloat16 in shared memory: {sums}")


main()
