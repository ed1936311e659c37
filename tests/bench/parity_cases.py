"""What Muster and PyTorch DDP both train for parity_vs_ddp.sh, and Muster's half of it (standard library only)."""

import array
import json
import math
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import muster_runs as m

STEPS, RANKS = 200, 2
KEPT = pathlib.Path(__file__).with_name("parity_vs_ddp.json")
FIRST, MOST_FIRST, LAST, MOST_LAST = 20, 1e-4, 20, 0.02  # relative differences of losses
CASES = {
    "mlp": {"data": ("images", 16400), "names": (),
            "config": {"model": {"name": "mlp", "hidden": [64, 32]}, "loss": {"kind": "cross_entropy"},
                       "optimizer": {"learning_rate": 0.002, "weight_decay": 0.01, "decay": "matrices"}, "batch": {"size": 64, "lanes": 8}}},
    "gpt": {"data": ("tokens", 560000), "names": ("gpt2",), "transform": "ids",
            "config": {"model": {"name": "gpt", "layers": 2, "width": 32, "heads": 2, "gelu": "tanh"}, "loss": {"kind": "next_token"},
                       "optimizer": {"learning_rate": 0.02, "beta2": 0.95, "weight_decay": 0.01, "decay": "matrices"},
                       "batch": {"size": 32, "lanes": 8}}},
}
SCHEDULE = {"kind": "cosine", "warmup_steps": 20, "final_ratio": 0.1}
CLIP_NORM = 1.0


def prepare(name, folder):
    """The case's data and config in `folder`; the config's path."""
    case = CASES[name]
    kind, rows = case["data"]
    m.run("generate", kind, "--rows", rows, "--partitions", 3, "--seed", 11, "--out", folder / "data")
    if "transform" in case:
        contract = folder / "data/contract.yaml"
        contract.write_text(contract.read_text().replace("window:", f"transform: {case['transform']}, window:"))
    m.run("validate", folder / "data")
    return m.write_config(folder / f"{name}.yaml", run={"name": name, "dir": str(folder / "runs"), "seed": 5},
                          data={"dataset": str(folder / "data")}, schedule=SCHEDULE, evaluate={"split": ""}, log={"tensorboard": False},
                          train={"steps": STEPS, "threads": 1, "clip_norm": CLIP_NORM}, checkpoint={"keep_every_steps": STEPS},
                          **case["config"])


def muster_half(name, config, folder):
    """Trains; what the other half needs: the losses, the start's weights as a file, and what all of it depends on."""
    result = m.run_json("train", config, ranks=RANKS)
    run = pathlib.Path(result["directory"])
    start = folder / "start.safetensors"
    names = [word for rule in CASES[name]["names"] for word in ("--names", rule)]
    m.run("export", run / "checkpoints/g0001-step-00000000", "--out", start, *names)
    losses = [event["loss"] for event in m.events(run) if event["event"] == "step"]
    m.check(len(losses) == STEPS and all(math.isfinite(loss) for loss in losses), f"losses: {losses}")
    m.check(sum(losses[-LAST:]) < 0.9 * sum(losses[:LAST]), f"{name} learns nothing: {losses}")
    manifest = json.loads((folder / "data/manifest.json").read_text())
    return {"losses": losses, "start": start,
            "depends_on": {"data": manifest["fingerprint"], "order": result["running_digest"], "weights": moments(start)}}


def moments(path):
    """Of each tensor of a safetensors file: its sum and norm."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    tensors = {}
    for name, entry in json.loads(raw[8:8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = array.array("f", raw[8 + length + begin:8 + length + end])
        tensors[name] = [math.fsum(values), math.sqrt(math.fsum(value * value for value in values))]
    return tensors


def check_same(name, kept, now):
    """What the kept losses were made of is what is here: else they say nothing."""
    anew = "make the losses anew: bash tests/bench/parity_vs_ddp.sh --keep"
    for what in ("data", "order"):
        m.check(kept[what] == now[what], f"{name}: other {what} than PyTorch saw ({kept[what]}, {now[what]}): {anew}")
    m.check(kept["weights"].keys() == now["weights"].keys(), f"{name}: other tensors: {sorted(now['weights'])}: {anew}")
    for tensor, (total, norm) in kept["weights"].items():
        here = now["weights"][tensor]
        same = abs(here[1] - norm) <= 1e-5 * norm and abs(here[0] - total) <= 1e-4 * (norm + abs(total))
        m.check(same, f"{name}: '{tensor}' starts otherwise ({[total, norm]}, {here}): {anew}")


def compare(name, ours, theirs):
    """Prints and returns the two differences; ends with an error where one is too great."""
    first = max(abs(a - b) / abs(b) for a, b in zip(ours[:FIRST], theirs[:FIRST]))
    last = abs(sum(ours[-LAST:]) - sum(theirs[-LAST:])) / sum(theirs[-LAST:])
    print(f"{name}: loss {theirs[0]:.6f} to {sum(theirs[-LAST:]) / LAST:.6f}; relative difference of the first {FIRST} steps at most "
          f"{first:.1e} (of {MOST_FIRST:.0e}), of the mean of {LAST} at step {STEPS} {last:.1e} (of {MOST_LAST})")
    m.check(len(ours) == len(theirs) == STEPS, f"{name}: {len(ours)} and {len(theirs)} losses")
    m.check(first <= MOST_FIRST, f"{name}: the first losses differ by {first}")
    m.check(last <= MOST_LAST, f"{name}: the last losses differ by {last}")
    return {"first": first, "last": last}
