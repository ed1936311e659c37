"""model.init_from with a file that Python's safetensors writes, under PyTorch's names for such a network: name maps, a matrix that lies the
other way, a part that stays random, frozen parameters; what does not fit is one line."""

import muster_runs as m
import with_packages

with_packages.need("numpy", "safetensors")
import numpy as np  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

NAMES = ["hidden_0.weight = body.0.weight transposed", "hidden_0.bias = body.0.bias", "hidden_1.* = body.2.*"]


def main():
    with m.Scratch() as scratch:
        m.run("generate", "tabular", "--rows", 3000, "--partitions", 2, "--out", scratch / "data")
        m.run("validate", scratch / "data")

        def config(name, hidden=(8, 6), **model):
            return m.write_config(scratch / f"{name}.yaml", run={"name": name, "dir": str(scratch / "runs")},
                                  data={"dataset": str(scratch / "data")}, model={"name": "mlp", "hidden": hidden, **model},
                                  batch={"size": 64, "lanes": 8}, train={"steps": 20, "threads": 1}, evaluate={"split": ""})

        plan = m.run_json("train", config("plan"), "--dry-run")
        shapes = {tensor["name"]: tensor["shape"] for tensor in plan["tensors"]}
        inputs = shapes["hidden_0.weight"][1]
        random = np.random.default_rng(5)
        weights = {"body.0.weight": random.normal(size=(inputs, 8)), "body.0.bias": random.normal(size=8),  # in double precision
                   "body.2.weight": random.normal(size=(6, 8)).astype("float32"), "body.2.bias": random.normal(size=6).astype("float16"),
                   "head.weight": np.zeros((1000, 6), "float32")}
        file = scratch / "weights.safetensors"
        save_file(weights, file)

        path = config("tuned", init_from=str(file), init_names=NAMES, init_except=["output.*"], frozen=["hidden_0.*"])
        done = m.run("train", path, ranks=2)
        for says in ("4 of 6 tensors from", "random, as model.init_except says: output.weight, output.bias", "not used: head.weight", "are trained"):
            m.check(says in done.stderr + done.stdout, f"'{says}' is said: {done.stderr}{done.stdout}")
        started = m.events(scratch / "runs/tuned")[0]
        m.check(started["init"]["taken"] == 4 and started["init"]["unused"] == ["head.weight"], f"provenance: {started['init']}")
        explained = m.run("explain", scratch / "runs/tuned").stdout
        m.check("began with" in explained and str(file) in explained, f"explained: {explained}")

        def tensors(step):
            return load_file(scratch / f"runs/tuned/checkpoints/g0001-step-{step:08}/model-00001-of-00001.safetensors")

        first, last = tensors(0), tensors(20)
        wanted = {"hidden_0.weight": weights["body.0.weight"].T, "hidden_0.bias": weights["body.0.bias"],
                  "hidden_1.weight": weights["body.2.weight"], "hidden_1.bias": weights["body.2.bias"]}
        for name, values in wanted.items():
            m.check(np.array_equal(first[name], values.astype("float32")), f"{name} begins as the file says")
        for name, values in first.items():
            same = np.array_equal(values, last[name])
            m.check(same == name.startswith("hidden_0."), f"{name} {'stayed' if same else 'changed'}")

        # A run goes on without the file; another one cannot begin.
        file.unlink()
        m.run("train", path, "--set", "train.steps=30", "--allow", "train.steps", ranks=2)
        gone = m.run("train", config("again", init_from=str(file)), expect=78)
        m.check("there is no such file" in gone.stderr, f"one line: {gone.stderr}")
        save_file(weights, file)
        wrong = m.run("train", config("wrong", init_from=str(file)), ranks=2, expect=78)
        lines = [line for line in wrong.stderr.splitlines() if "model.init_from has no" in line]
        m.check(len(lines) == 1 and "'hidden_0.weight'" in lines[0] and "model.init_names" in lines[0], f"one line: {wrong.stderr}")
        other = m.run("train", config("other", hidden=(8, 7), init_from=str(file), init_names=NAMES, init_except=["output.*"]), expect=78)
        m.check("'body.2.weight' in model.init_from is [6, 8], the model's 'hidden_1.weight' [7, 8]" in other.stderr, f"shapes: {other.stderr}")
        useless = m.run("train", config("useless", init_names=NAMES), expect=78)
        m.check("useless.yaml:" in useless.stderr and "counts only with model.init_from" in useless.stderr, f"says where: {useless.stderr}")
        pickled = scratch / "weights.pt"
        pickled.write_bytes(b"PK\x03\x04" + bytes(100))
        refused = m.run("train", config("pickle", init_from=str(pickled)), expect=78)
        m.check("safetensors.torch.save_file" in refused.stderr, f"says what to do: {refused.stderr}")

        # Another checkpoint is a source too; a run directory means its best or newest.
        m.run("train", config("from-run", init_from=str(scratch / "runs/tuned")), ranks=2)


main()
