"""A stream of tokens from text or generator to a model: a loss between what is possible and what one token back can do, the same bits
after a kill and a resume, the same metrics on any number of ranks, and what cannot be, refused."""

import collections
import json
import math
import pathlib
import random

import muster_runs as m

ENTROPY = 1.75 * math.log(2)  # of each step of `generate tokens`
STEPS = 300


def config(scratch, name, **extra):
    sections = dict(run={"name": name, "dir": str(scratch / "runs"), "seed": 3}, data={"dataset": str(scratch / "data")},
                    model={"name": "gpt", "layers": 2, "width": 32, "heads": 2, "dropout": 0.02}, loss={"kind": "next_token"},
                    optimizer={"learning_rate": 0.01}, schedule={"kind": "cosine", "warmup_steps": 20},
                    batch={"size": 32, "lanes": 8, "window": 4},
                    train={"steps": STEPS, "threads": 1, "clip_norm": 1.0, "micro_batch": 24},
                    evaluate={"every_steps": 100, "micro_batch": 128}, checkpoint={"every_steps": 25, "every_seconds": 0},
                    log={"every_steps": 10})
    sections.update(extra)
    return m.write_config(scratch / f"{name}.yaml", **sections)


def checkpoint(result):
    return pathlib.Path(result["directory"]) / "checkpoints" / result["checkpoint"]


def tensors(result):
    """SHA-256 of each file with tensors, from the last checkpoint's manifest."""
    files = json.loads((checkpoint(result) / "manifest.json").read_text())["files"]
    return {name: entry["sha256"] for name, entry in files.items() if name.endswith(".safetensors")}


def names_of_weights(result):
    names = []
    for path in checkpoint(result).glob("model-*.safetensors"):
        raw = path.read_bytes()
        names += [name for name in json.loads(raw[8:8 + int.from_bytes(raw[:8], "little")]) if name != "__metadata__"]
    return names


def killed_and_resumed(scratch, dice):
    file = config(scratch, "killed")
    directory = scratch / "runs" / "killed"
    process = m.start("train", file, ranks=2)
    m.check(m.wait_for_step(process, directory, 60), "it ended before the kill")
    m.kill_a_rank(process, directory, dice)
    process.communicate(timeout=60)
    m.check(m.last_step(directory) < STEPS, "it ended before the kill")
    return m.run_json("train", file, ranks=2)


def check_learnt(metrics):
    loss = metrics["loss"]
    one_back = 2.2 * math.log(2)  # generator_test: the entropy after one symbol is greater
    print(f"validation loss {loss:.4f}; {ENTROPY:.4f} is the least possible, one token back gives more than {one_back:.4f}")
    m.check(ENTROPY - 0.02 < loss < one_back - 0.1, f"learnt: {metrics}")
    m.check(metrics["tokens"] == 64 * metrics["rows"], f"tokens: {metrics}")
    m.check(math.isclose(metrics["perplexity"], math.exp(loss)) and math.isclose(metrics["bits_per_token"], loss / math.log(2)), f"{metrics}")
    m.check(0.4 < metrics["token_accuracy"] < 0.52, f"the likeliest token comes in half of the steps: {metrics}")


def check_order(scratch, result, file):
    logged = [e["digest"] for e in m.events(result["directory"]) if e["event"] == "step" and e["epoch"] == 0]
    lines = [json.loads(x) for x in m.run("order", file, "--epoch", 0, "--world", 3).stdout.splitlines()]
    computed = {line["step"]: line["digest"] for line in lines[:-1]}
    steps = [e for e in m.events(result["directory"]) if e["event"] == "step" and e["epoch"] == 0]
    m.check(logged and all(computed[e["step"] - 1] == e["digest"] for e in steps), "order and run differ")


def check_refusals(scratch, file, result):
    done = m.run("train", file, "--dry-run", "--set", "loss.kind=mse", expect=78)
    m.check("label" in done.stderr or "next_token" in done.stderr, done.stderr)
    other = config(scratch, "other", model={"name": "mlp"})
    done = m.run("train", other, "--dry-run", expect=78)
    m.check("'tokens'" in done.stderr or "next_token" in done.stderr, done.stderr)
    done = m.run("train", file, "--dry-run", "--set", "evaluate.best_by=auc", expect=78)
    m.check("loss.kind next_token" in done.stderr and "perplexity" in done.stderr, done.stderr)
    done = m.run("predict", result["directory"], "--data", scratch / "data", "--split", "test", "--out", scratch / "p.csv", expect=78)
    m.check("no score of a row" in done.stderr and not (scratch / "p.csv").exists(), done.stderr)


def check_text(scratch):
    """A text of one's own: characters it was not trained on are id 0, a shuffle is refused, two texts are two partitions."""
    (scratch / "a.txt").write_text("the cat sat on the mat. " * 400)
    (scratch / "b.txt").write_text("the dog ate the cat. " * 100)
    (scratch / "text.yaml").write_text("""version: 1
sources:
  - {format: text, file: a.txt}
  - {format: text, file: b.txt, unit: characters}
contract:
  version: 1
  fields:
    text: {dtype: uint8, window: {length: 16, stride: 4}}
  splits: {by: order, gap_rows: 3, train: 0.8, validation: 0.2}
""")
    m.run("ingest", scratch / "text.yaml", "--out", scratch / "text", "--shuffle", 1, expect=64)
    m.run("ingest", scratch / "text.yaml", "--out", scratch / "text")
    report = m.run_json("validate", scratch / "text")
    rows = sum((n - 17) // 4 + 1 for n in (24 * 400, 21 * 100))
    left = sum((n - 17) % 4 for n in (24 * 400, 21 * 100))
    m.check(report["rows"] == rows and report["partitions"] == 2 and report["tokens_left_over"] == {"text": left}, f"{report}")
    m.check(report["rows_in_no_split"] == 3, f"the gap: {report}")
    file = config(scratch, "text", data={"dataset": str(scratch / "text")}, train={"steps": 40, "threads": 1})
    result = m.run_json("train", file, ranks=2)
    pipeline = json.loads((checkpoint(result) / "pipeline.json").read_text())
    vocabulary = [chr(int(text)) for text in pipeline["inputs"][0]["fitted"]["vocabulary"]]
    used = "".join(("the cat sat on the mat. " * 400, "the dog ate the cat. " * 100))
    counts = collections.Counter(used)
    m.check(set(vocabulary) <= set(counts) and vocabulary[:2] == [" ", "t"], f"by count: {vocabulary}")
    profile = m.run_json("profile", scratch / "text")
    m.check(profile["fields"], f"{profile}")


def main():
    dice = random.Random(6)
    with m.Scratch() as scratch:
        m.run("generate", "tokens", "--rows", 300000, "--partitions", 3, "--seed", 5, "--out", scratch / "data")
        m.run("validate", scratch / "data")
        file = config(scratch, "whole")
        result = m.run_json("train", file, ranks=2)
        check_learnt(result["metrics"]["validation"])
        names = names_of_weights(result)
        m.check(len(names) == len(set(names)) and "tokens.weight" in names and "output.weight" not in names, f"tied: {names}")
        resumed = killed_and_resumed(scratch, dice)
        m.check(resumed["running_digest"] == result["running_digest"], "another order after the resume")
        m.check(tensors(resumed) == tensors(result), "other bits after the resume")
        m.check(resumed["metrics"] == result["metrics"], "other metrics after the resume")
        metrics = [m.run_json("evaluate", result["directory"], "--split", "test", ranks=ranks)["metrics"] for ranks in (1, 2, 3)]
        m.check(metrics[0] == metrics[1] == metrics[2], f"ranks matter: {metrics}")
        check_order(scratch, result, file)
        check_refusals(scratch, file, result)
        check_text(scratch)


main()
