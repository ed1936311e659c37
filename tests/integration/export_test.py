"""muster export: the weights of a checkpoint as Python's safetensors reads them, under names of others and back again; what is refused."""

import json
import struct

import muster_runs as m
import with_packages

with_packages.need("numpy", "safetensors")
import numpy as np  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402

NAMES = ["hidden_0.weight = body.0.weight transposed", "hidden_*.bias = body.*.bias", "output.* = head.*"]


def metadata(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))["__metadata__"]


def main():
    with m.Scratch() as scratch:
        m.run("generate", "tabular", "--rows", 2000, "--partitions", 2, "--out", scratch / "data")
        m.run("validate", scratch / "data")

        def config(name, **model):
            return m.write_config(scratch / f"{name}.yaml", run={"name": name, "dir": str(scratch / "runs")},
                                  data={"dataset": str(scratch / "data")}, model={"name": "mlp", "hidden": [8, 6], **model},
                                  batch={"size": 64, "lanes": 8}, train={"steps": 10, "threads": 1}, evaluate={"split": ""})

        m.run("train", config("first"), ranks=2)
        run = scratch / "runs/first"
        weights = load_file(run / "checkpoints/g0001-step-00000010/model-00001-of-00001.safetensors")

        plain = scratch / "plain.safetensors"
        done = m.run_json("export", run, "--out", plain)
        m.check(done["tensors"] == len(weights) and done["step"] == 10 and done["bytes"] == plain.stat().st_size, f"told: {done}")
        same = load_file(plain)
        m.check(same.keys() == weights.keys() and all(np.array_equal(same[name], weights[name]) for name in weights), "the checkpoint's weights")
        m.check(metadata(plain)["muster_step"] == "10" and metadata(plain)["format"] == "pt", f"metadata: {metadata(plain)}")
        m.check("load_state_dict" in m.run("export", run, "--out", scratch / "said.safetensors").stdout, "it says how to load it")

        theirs = scratch / "theirs.safetensors"
        m.run("export", run, "--out", theirs, *[word for rule in NAMES for word in ("--names", rule)])
        renamed = load_file(theirs)
        m.check(np.array_equal(renamed["body.0.weight"], weights["hidden_0.weight"].T), "transposed")
        m.check(np.array_equal(renamed["body.1.bias"], weights["hidden_1.bias"]) and "hidden_1.weight" in renamed, f"renamed: {sorted(renamed)}")

        # The same rules bring it back.
        m.run("train", config("second", init_from=str(theirs), init_names=NAMES), ranks=2)
        again = load_file(scratch / "runs/second/checkpoints/g0001-step-00000000/model-00001-of-00001.safetensors")
        m.check(all(np.array_equal(again[name], weights[name]) for name in weights), "there and back")

        for code, says, names in ((64, "exists already", []), (78, "is no rule", ["x"]), (78, "fits no tensor", ["nothing = x"]),
                                  (78, "is no matrix", ["output.bias = x transposed"]), (78, "two tensors", ["output.* = x"])):
            out = plain if code == 64 else scratch / "none.safetensors"
            refused = m.run("export", run, "--out", out, *[word for rule in names for word in ("--names", rule)], expect=code)
            m.check(says in refused.stderr and len(refused.stderr.strip().splitlines()) == 1, f"{says}: {refused.stderr}")
            m.check(not (scratch / "none.safetensors").exists(), "nothing is left")
        nowhere = m.run("export", run, "--out", scratch / "no/such/folder.safetensors", expect=74)
        m.check(len(nowhere.stderr.strip().splitlines()) == 1, f"one line: {nowhere.stderr}")


if __name__ == "__main__":
    main()
