"""From arrays to arrays: a U-Net learns the temperature that sources keep up, in two and three dimensions, better than predicting the
mean; the same metrics and predictions on any number of ranks, the metrics that Python makes of the prediction file; other models
on small arrays; every command on such data; and what cannot be, refused."""

import csv
import json
import math
import struct
import subprocess

import muster_runs as m

MICRO_BATCH = 16
CASES = {"flat": ((17, 24), {"name": "unet", "width": 8, "levels": 2, "padding": "circular"}),
         "solid": ((9, 8, 12), {"name": "unet", "width": 8, "levels": 1, "dimensions": 3, "padding": "circular"}),
         "small": ((8, 8), {"name": "mlp", "hidden": [128]})}


def float32(text):
    return struct.unpack("f", struct.pack("f", float(text)))[0]


def generated(scratch, name, shape, rows=640):
    m.run("generate", "fields", "--rows", rows, "--partitions", 3, "--seed", 4, "--shape", ",".join(map(str, shape)), "--out", scratch / name)
    m.run("validate", scratch / name)


def config(scratch, name, data, model, **changes):
    sections = dict(run={"name": name, "dir": str(scratch / "runs")}, data={"dataset": str(scratch / data)}, model=model,
                    batch={"size": 16, "lanes": 4, "window": 4}, optimizer={"learning_rate": 0.005}, schedule={"kind": "cosine"},
                    train={"steps": 200 if m.FULL else 90, "threads": 1}, evaluate={"micro_batch": MICRO_BATCH}, checkpoint={"every_steps": 50})
    for section, values in changes.items():
        sections[section] = {**sections.get(section, {}), **values}
    return m.write_config(scratch / f"{name}.yaml", **sections)


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def metrics_of(rows, values):
    """As the evaluation adds: each micro-batch by itself, then these."""
    squared = absolute = labels = 0.0
    for first in range(0, len(rows), MICRO_BATCH):
        parts = [0.0, 0.0, 0.0]
        for row in rows[first:first + MICRO_BATCH]:
            for i in range(values):
                label = float32(row[f"temperature.{i}"])
                error = float32(row[f"prediction.{i}"]) - label
                parts = [parts[0] + error * error, parts[1] + abs(error), parts[2] + label * label]
        squared, absolute, labels = squared + parts[0], absolute + parts[1], labels + parts[2]
    count = len(rows) * values
    return {"rmse": math.sqrt(squared / count), "mae": absolute / count, "relative_l2": math.sqrt(squared / labels)}


def learns(scratch, name):
    shape, model = CASES[name]
    values = math.prod(shape)
    generated(scratch, name, shape)
    file = config(scratch, name, name, model)
    said = m.run("train", file, ranks=2).stdout
    m.check("the label 'temperature' is an array" in said, f"the leak guard says what it did not look at: {said}")
    run = scratch / "runs" / name
    metrics = m.run_json("evaluate", run, "--split", "test", ranks=2)["metrics"]
    print(f"{name}: {metrics}")
    m.check(metrics["loss"] < 0.35, f"{name}: the mean's loss is 1: {metrics}")
    m.check(all(m.run_json("evaluate", run, "--split", "test", ranks=ranks)["metrics"] == metrics for ranks in (1, 3)), "on 1 and 3 ranks")
    for ranks in (1, 2, 3):
        m.run("predict", run, "--data", scratch / name, "--split", "test", "--out", scratch / f"{name}{ranks}.csv", ranks=ranks)
        m.run("predict", run, "--data", scratch / name, "--split", "test", "--out", scratch / f"{name}{ranks}.h5", ranks=ranks)
    for ending in ("csv", "h5"):
        first = (scratch / f"{name}1.{ending}").read_bytes()
        m.check(all((scratch / f"{name}{ranks}.{ending}").read_bytes() == first for ranks in (2, 3)), f"the same {ending} for 1, 2, 3 ranks")
    rows = read_csv(scratch / f"{name}1.csv")
    m.check(len(rows) == metrics["rows"], "every row is predicted")
    for metric, value in metrics_of(rows, values).items():
        m.check(metrics[metric] == value, f"{name} {metric}: {value} of the file, {metrics[metric]}")
    pipeline = json.loads((sorted((run / "checkpoints").glob("*step*"))[-1] / "pipeline.json").read_text())
    scaled = (metrics["rmse"] / pipeline["label"]["deviation"])**2
    m.check(abs(scaled - metrics["loss"]) < 1e-4 * metrics["loss"], f"in units of the deviation: {scaled}, {metrics['loss']}")
    shown = {entry["path"]: entry for entry in m.run_json("inspect", scratch / f"{name}1.h5")["files"][0]["datasets"]}
    for field in ("prediction", "temperature"):
        m.check(shown[field]["dtype"] == "float32" and shown[field]["shape"] == [len(rows), *shape], f"{shown}")
    return run, rows


def nested(values, shape):
    """A flat list as JSON lines have it."""
    if not shape:
        return values[0]
    part = len(values) // shape[0]
    return [nested(values[i * part:(i + 1) * part], shape[1:]) for i in range(shape[0])]


def flat(value):
    return [x for part in value for x in flat(part)] if isinstance(value, list) else [value]


def answers_lines(scratch, run, name):
    """A line has its array as it goes in: nested."""
    shape, _ = CASES[name]
    line = json.dumps({"source": nested([100.0 * (i % 7) for i in range(math.prod(shape))], shape)}) + "\n"
    done = subprocess.run(m.command("predict", run, "--stdin"), input=line, capture_output=True, text=True, env=m.ENVIRONMENT, check=False)
    m.check(done.returncode == 0, done.stderr)
    prediction = json.loads(done.stdout)["prediction"]
    m.check(prediction == nested(flat(prediction), shape) and len(flat(prediction)) == math.prod(shape), f"nested as {shape}: {done.stdout[:200]}")


def other_commands(scratch, run, name):
    m.check("temperature" in m.run("profile", scratch / name, ranks=2).stdout, "profile shows the label")
    m.check("unet" in m.run("explain", run).stdout, "explain")
    m.run("verify", run)
    m.run("export", run, "--out", scratch / "weights.safetensors")
    m.run("contract", "init", next((scratch / name).glob("*.h5")), "--out", scratch / "drafted")
    m.check((scratch / "drafted" / "contract.yaml").read_text().count("shape: [17, 24]") == 2, "a draft")


def refuses(scratch, name):
    mlp = {"name": "mlp", "hidden": [8]}
    unet = CASES[name][1]
    tried = 0

    def refused(*words, model=unet, data=name, **changes):
        nonlocal tried
        tried += 1
        done = m.run("train", config(scratch, "refused", data, model, **changes), expect=78)
        lines = [line for line in done.stderr.splitlines() if line.startswith("muster:")]
        m.check(len(lines) == 1 and all(word in lines[0] for word in words), f"{words} in {lines or done.stderr}")
        m.check(not (scratch / "runs" / "refused").exists(), "no run is left")

    refused("'temperature' is an array", "mse", loss={"kind": "binary"})
    refused("'temperature' is an array", "mse", loss={"kind": "cross_entropy"}, model=mlp)
    refused("levels", model={**unet, "levels": 5})
    refused("[17, 24]", "dimensions 3", model={**unet, "dimensions": 3})
    m.run("generate", "tabular", "--rows", 300, "--out", scratch / "tabular")
    m.run("validate", scratch / "tabular")
    refused("unet", "label with a shape", data="tabular")
    refused("relative_l2", "rmse", data="tabular", model=mlp, evaluate={"best_by": "relative_l2"})
    refused("choose_threshold", evaluate={"choose_threshold": "f1"})
    done = m.run("generate", "tabular", "--rows", 3, "--shape", "8,8", "--out", scratch / "none", expect=64)
    m.check("--shape" in done.stderr, done.stderr)
    done = m.run("generate", "fields", "--rows", 3, "--shape", "8,7", "--out", scratch / "none", expect=64)
    m.check("at least 8" in done.stderr and not (scratch / "none").exists(), done.stderr)
    print(f"{tried} refused")


def main():
    with m.Scratch() as scratch:
        for name in CASES:
            run, _ = learns(scratch, name)
            answers_lines(scratch, run, name)
        other_commands(scratch, scratch / "runs" / "flat", "flat")
        refuses(scratch, "flat")


main()
