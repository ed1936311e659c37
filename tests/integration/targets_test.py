"""Several labels: two numbers and two truths of one dataset, each pair learned together on two ranks, measured by name, predicted into
files and line by line. The metrics that Python makes of the prediction file are the evaluation's, to the last bit."""

import csv
import json
import math
import random
import struct
import subprocess

import muster_runs as m

ROWS, MICRO_BATCH = 3000, 128
SPEC = """version: 1
sources:
  - {format: csv, file: table.csv}
contract:
  version: 1
  fields:
    number: {dtype: int64, role: key}
    a: {dtype: float32}
    b: {dtype: float32, missing: indicator}
    shop: {dtype: string, length: 4}
    heat: {dtype: float32, unit: C, role: label}
    visits: {dtype: int32, role: label, missing: drop, missing_value: -1}
    open: {dtype: bool, role: label}
    sold: {dtype: uint8, allowed: [0, 1], role: label}
  splits: {by: fraction, stratified: true, label: sold, seed: 3, train: 0.6, validation: 0.2, test: 0.2}
"""


def make_table(path):
    dice = random.Random(8)
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["number", "a", "b", "shop", "heat", "visits", "open", "sold"])
        for row in range(ROWS):
            a, b, shop = dice.gauss(0, 1), dice.gauss(0, 1), dice.randrange(4)
            truth = lambda x: int(dice.random() < 1 / (1 + math.exp(-x)))
            out.writerow([row, f"{a:.4f}", "" if dice.random() < 0.1 else f"{b:.4f}", f"s{shop}", f"{20 + 8 * a - 3 * b + dice.gauss(0, 4):.3f}",
                          -1 if row % 100 == 7 else round(500 * shop + 100 * b + dice.gauss(0, 150) + 1000), truth(a + shop - 1), truth(2 * b - 2)])


def float32(text):
    return struct.unpack("f", struct.pack("f", float(text)))[0]


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def in_micro_batches(values):
    """As the evaluation adds: each micro-batch by itself, then these."""
    total = 0.0
    for first in range(0, len(values), MICRO_BATCH):
        part = 0.0
        for value in values[first:first + MICRO_BATCH]:
            part += value
        total += part
    return total


def ranking(scores, truths):
    """AUC with ties as half, and average precision, by whole numbers."""
    groups = {}
    for score, truth in zip(scores, truths):
        groups.setdefault(score, [0, 0])[truth] += 1
    positives = sum(truths)
    area, below, above, precision = 0, 0, [0, 0], 0
    for score in sorted(groups):
        no, yes = groups[score]
        area += yes * (2 * below + no)
        below += no
    for score in sorted(groups, reverse=True):
        above = [above[0] + groups[score][0], above[1] + groups[score][1]]
        precision += (groups[score][1] * above[1] << 32) // sum(above)
    return area / (2 * positives * below), precision / 2**32 / positives


def numbers_of(rows, name):
    errors = [float32(row[f"prediction.{name}"]) - float32(row[name]) for row in rows]
    return {"rmse": math.sqrt(in_micro_batches([e * e for e in errors]) / len(rows)), "mae": in_micro_batches([abs(e) for e in errors]) / len(rows)}


def truths_of(rows, name):
    scores, truths = [float32(row[f"probability.{name}"]) for row in rows], [int(row[name]) for row in rows]
    predicted = [int(row[f"predicted.{name}"]) for row in rows]
    m.check(predicted == [int(score >= 0.4) for score in scores], f"{name}: the threshold")
    (tn, fp), (fn, tp) = [[sum(1 for t, p in zip(truths, predicted) if (t, p) == (i, j)) for j in (0, 1)] for i in (0, 1)]
    auc, precision = ranking(scores, truths)
    return {"auc": auc, "average_precision": precision, "confusion": [[tn, fp], [fn, tp]], "accuracy": (tp + tn) / len(rows),
            "f1": 2 * tp / (2 * tp + fp + fn), "brier": in_micro_batches([(s - t) * (s - t) for s, t in zip(scores, truths)]) / len(rows)}


def train(scratch, name, labels, **sections):
    config = m.write_config(scratch / f"{name}.yaml", run={"name": name, "dir": str(scratch / "runs")}, data={"dataset": str(scratch / "data"), "labels": labels},
                            model={"name": "tabular", "width": 16, "blocks": 1}, batch={"size": 64, "lanes": 8},
                            evaluate={"micro_batch": MICRO_BATCH, "threshold": 0.4}, optimizer={"learning_rate": 0.01},
                            train={"epochs": 6, "threads": 1}, **sections)
    return config, m.run("train", config, ranks=2).stdout


def measured(scratch, name, labels, of_one):
    """The evaluation of a run, held to the prediction file's."""
    run = scratch / "runs" / name
    for ranks in (1, 2, 3):
        m.run("predict", run, "--data", scratch / "data", "--split", "test", "--out", scratch / f"{name}{ranks}.csv", ranks=ranks)
    first = (scratch / f"{name}1.csv").read_bytes()
    m.check(all((scratch / f"{name}{ranks}.csv").read_bytes() == first for ranks in (2, 3)), "the same bytes for 1, 2, 3 ranks")
    rows = read_csv(scratch / f"{name}1.csv")
    metrics = m.run_json("evaluate", run, "--split", "test", ranks=2)["metrics"]
    m.check(metrics == m.run_json("evaluate", run, "--split", "test", ranks=3)["metrics"], "the same metrics on 3 ranks")
    m.check(list(metrics["targets"]) == sorted(labels) and metrics["rows"] == len(rows), f"{metrics}")
    for label in labels:
        for metric, value in of_one(rows, label).items():
            m.check(metrics["targets"][label][metric] == value, f"{label} {metric}: {value} of the file, {metrics['targets'][label][metric]}")
    text = m.run("evaluate", run, "--split", "test").stdout
    m.check(all(f"\n  {label}: loss " in text for label in labels), text)
    return rows, metrics


def two_numbers(scratch):
    config, said = train(scratch, "numbers", ["visits", "heat"])
    m.check("best features alone for 'heat'" in said and "best features alone for 'visits'" in said, said)
    m.check("; heat: rmse" in said, "the progress says each target's metric")
    rows, metrics = measured(scratch, "numbers", ["heat", "visits"], numbers_of)
    m.check("predicted.heat" not in rows[0] and metrics["targets"]["heat"]["rmse"] < 7 and metrics["targets"]["visits"]["rmse"] < 400, f"{metrics}")
    pipeline = json.loads((sorted((scratch / "runs" / "numbers" / "checkpoints").glob("*step*"))[-1] / "pipeline.json").read_text())
    scaled = [(metrics["targets"][label["field"]]["rmse"] / label["deviation"])**2 for label in pipeline["label"]]
    m.check(abs(sum(scaled) / 2 - metrics["loss"]) < 1e-4 * metrics["loss"], f"the mean in units of each deviation: {scaled}, {metrics['loss']}")
    m.check("rmse" not in metrics, "no mean of two units")
    board = b"".join(path.read_bytes() for path in (scratch / "runs" / "numbers").glob("events.out.tfevents*"))
    m.check(all(f"validation/{label}/rmse".encode() in board for label in ("heat", "visits")), "TensorBoard has each label's metrics")
    started = [event for event in m.events(scratch / "runs" / "numbers") if event["event"] == "run_finished"]
    m.check(started[-1]["best"]["metric"] == "loss", f"{started[-1]}")
    return config


def two_truths(scratch):
    train(scratch, "truths", ["open", "sold"], loss={"kind": "binary", "pos_weight": 2.0})
    rows, metrics = measured(scratch, "truths", ["open", "sold"], truths_of)
    for metric in ("auc", "average_precision", "accuracy", "f1", "brier"):
        mean = (metrics["targets"]["open"][metric] + metrics["targets"]["sold"][metric]) / 2
        m.check(metrics[metric] == mean, f"{metric}: {metrics[metric]}, mean {mean}")
    m.check(metrics["targets"]["open"]["auc"] > 0.75 and metrics["targets"]["sold"]["auc"] > 0.8, f"{metrics}")
    m.run("predict", scratch / "runs" / "truths", "--data", scratch / "data", "--out", scratch / "all.h5", ranks=2)
    m.check((scratch / "all.h5").read_bytes()[:4] == b"\x89HDF", "an HDF5 file")
    return rows


def line_by_line(scratch, rows):
    table = {row["number"]: row for row in read_csv(scratch / "table.csv")}
    given = [table[row["number"]] for row in rows[:20]]
    names = ["probability.open", "predicted.open", "probability.sold", "predicted.sold"]

    def answers(text):
        return subprocess.run(m.command("predict", scratch / "runs" / "truths", "--stdin"), input=text, stdout=subprocess.PIPE, text=True, check=True,
                              env=m.ENVIRONMENT).stdout

    lines = ["number,shop,b,a"] + [f"{row['number']},{row['shop']},{row['b']},{row['a']}" for row in given]
    of_csv = list(csv.DictReader(answers("\n".join(lines) + "\n").splitlines()))
    objects = [{"number": int(row["number"]), "shop": row["shop"], "a": float(row["a"]), "b": float(row["b"]) if row["b"] else None} for row in given]
    of_json = [json.loads(line) for line in answers("".join(json.dumps(o) + "\n" for o in objects)).splitlines()]
    m.check(list(of_csv[0]) == ["number"] + names + ["error"], f"{list(of_csv[0])}")
    for want, cells, answer in zip(rows, of_csv, of_json):
        m.check(sorted(answer) == sorted(["number"] + names), f"{answer}")
        m.check(cells["number"] == want["number"] and answer["number"] == int(want["number"]), "keys")
        for name in names:
            m.check(abs(float(cells[name]) - float(want[name])) < 1e-5 and abs(answer[name] - float(want[name])) < 1e-5, f"{name}: {cells}, {answer}")


def bad_lines(scratch, config):
    cases = [("data.labels=[heta]", "no field with `role: label` (did you mean 'heat'?)"), ("data.labels=[a]", "'a' is no field with `role: label`"),
             ("loss.kind=cross_entropy", "takes one label, here are 2: heat, visits"), ("evaluate.best_by=mae", "only `loss` compares them all"),
             ("loss.kind=next_token", "data.labels: loss.kind next_token has no label to learn"), ("loss.kind=binary", "'heat' has not")]
    for change, says in cases:
        for ranks in (0, 2):
            refused = m.run("train", config, "--set", "run.name=refused", "--set", change, ranks=ranks, expect=78)
            ours = [line for line in refused.stderr.splitlines() if line.startswith("muster")]
            m.check(len(ours) == 1 and says in ours[0], f"{change}: {says} in {refused.stderr}")
    m.check(not (scratch / "runs" / "refused").exists(), "nothing was left")
    contract = scratch / "data" / "contract.yaml"
    contract.write_text("\n".join(line for line in contract.read_text().splitlines() if line.strip() != 'label: "sold"' and line.strip() != "label: sold") + "\n")
    refused = m.run("validate", scratch / "data", expect=78)
    m.check("there are 4 labels: `label: heat` or another says whose shares are kept" in refused.stderr, refused.stderr)


def main():
    with m.Scratch() as scratch:
        make_table(scratch / "table.csv")
        (scratch / "spec.yaml").write_text(SPEC)
        m.run("ingest", scratch / "spec.yaml", "--out", scratch / "data")
        m.run("validate", scratch / "data")
        config = two_numbers(scratch)
        line_by_line(scratch, two_truths(scratch))
        bad_lines(scratch, config)


main()
