"""A rare class: a threshold and a temperature fitted on validation lie in the checkpoint and decide in evaluate and predict, the same for
any number of ranks; intervals beside the AUC; weights of rows count in the loss and in the training."""

import csv
import json
import math
import random
import subprocess

import muster_runs as m

FEATURES = "  a: {dtype: float32}\n  b: {dtype: float32}\n"
LABEL = "  hit: {dtype: uint8, allowed: [0, 1], role: label}\n"
WEIGHT = "  counts: {dtype: float32, role: weight}\n"
SPLITS = "splits: {by: fraction, seed: 3, train: 0.6, validation: 0.4}\n"


def decision_of(checkpoint):
    return json.loads((checkpoint / "manifest.json").read_text())["state"]["decision"]


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def counts_at(rows, label, threshold):
    tp = sum(1 for p, y in rows if p >= threshold and y)
    fp = sum(1 for p, y in rows if p >= threshold and not y)
    return tp, fp, sum(y for _, y in rows) - tp


def best_f1(rows):
    """(F1, threshold) from the scores alone; the greatest threshold of the best ones."""
    order = sorted(rows, reverse=True)
    positives = sum(y for _, y in rows)
    best, tp, at = (-1, None), 0, 0
    while at < len(order):
        score = order[at][0]
        while at < len(order) and order[at][0] == score:
            tp += order[at][1]
            at += 1
        f1 = 2 * tp / (positives + at)
        if f1 > best[0]:
            best = (f1, score)
    return best


def auc(rows):
    twice, negatives, at = 0, 0, 0
    order = sorted(rows)
    while at < len(order):
        end = at
        while end < len(order) and order[end][0] == order[at][0]:
            end += 1
        positive = sum(y for _, y in order[at:end])
        twice += positive * (2 * negatives + (end - at - positive))
        negatives += end - at - positive
        at = end
    return twice / 2 / (negatives * (len(order) - negatives))


def card_fraud(scratch):
    data = scratch / "data"
    m.run("generate", "card-fraud", "--rows", 12000, "--partitions", 4, "--seed", 3, "--out", data)
    m.run("validate", data)
    config = m.write_config(scratch / "config.yaml", run={"name": "fraud", "dir": str(scratch / "runs")}, data={"dataset": str(data)},
                            model={"name": "mlp", "hidden": [16]}, loss={"kind": "binary", "pos_weight": 4},
                            optimizer={"learning_rate": 0.01}, batch={"size": 64, "lanes": 8}, train={"epochs": 3, "threads": 1},
                            evaluate={"micro_batch": 300, "choose_threshold": "f1", "calibrate": "temperature", "every_steps": 60,
                                      "best_by": "average_precision"})
    m.run("train", config, ranks=2)
    run = scratch / "runs" / "fraud"
    state = json.loads(max((run / "checkpoints").glob("g0001-*/manifest.json")).read_text())["state"]
    best = run / "checkpoints" / state["best"]["checkpoint"]
    last = max((run / "checkpoints").glob("g0001-step-*"))
    for checkpoint in (best, last):
        decision = decision_of(checkpoint)
        m.check(decision["step"] == int(checkpoint.name[-8:]) and decision["split"] == "validation" and decision["chosen_by"] == "f1"
                and decision["calibrated"] and decision["temperature"] != 1 and decision["threshold"] != 0.5, f"{checkpoint}: {decision}")
    explained = m.run_json("explain", run)
    m.check(explained["decision"] == decision_of(best), f"explain: {explained['decision']}")
    m.check("decision    threshold" in m.run("explain", run).stdout, "explain says it")
    events = [event["metrics"] for event in m.events(run) if event["event"] == "evaluated"]
    m.check(all(metrics["nll"] <= metrics["nll_uncalibrated"] for metrics in events), "a temperature never makes the likelihood worse")
    m.check(not any("auc_low" in metrics for metrics in events), "no bootstrap while training")
    return run, best, data


def evaluate_and_predict(scratch, run, best, data):
    decision = decision_of(best)
    for split in ("validation", "test"):
        results = [m.run_json("evaluate", run, "--split", split, "--bootstrap", 300, ranks=ranks) for ranks in (0, 2, 3)]
        m.check(all(result == results[0] for result in results), f"other metrics on other ranks: {results}")
        metrics = results[0]["metrics"]
        m.check(results[0]["decision"] == decision and metrics["threshold"] == decision["threshold"]
                and metrics["temperature"] == decision["temperature"], f"the checkpoint decides: {results[0]}")
        for ranks in (1, 2, 3):
            m.run("predict", run, "--data", data, "--split", split, "--out", scratch / f"{split}{ranks}.csv", ranks=ranks)
        table = read_csv(scratch / f"{split}1.csv")
        for ranks in (2, 3):
            m.check((scratch / f"{split}1.csv").read_bytes() == (scratch / f"{split}{ranks}.csv").read_bytes(), "other bytes on other ranks")
        label = next(name for name in table[0] if name not in ("partition", "row", "probability", "predicted") and
                     {row[name] for row in table} == {"0", "1"})
        rows = [(float(row["probability"]), int(row[label])) for row in table]
        # What is written is the shortest text of a float32; compared as such.
        m.check(all((p >= float(f"{decision['threshold']:.9g}") or math.isclose(p, decision["threshold"], rel_tol=1e-7)) ==
                    (row["predicted"] == "1") for (p, _), row in zip(rows, table)), "predicted is by the checkpoint's threshold")
        tp = sum(1 for row in table if row["predicted"] == "1" and row[label] == "1")
        fp = sum(1 for row in table if row["predicted"] == "1" and row[label] == "0")
        positives = sum(y for _, y in rows)
        m.check(metrics["confusion"] == [[len(rows) - positives - fp, fp], [positives - tp, tp]], f"{metrics['confusion']}")
        nll = sum(-math.log(p if y else 1 - p) for p, y in rows) / len(rows)
        m.check(abs(nll - metrics["nll"]) < 1e-5, f"calibrated probabilities are handed out: {nll}, {metrics['nll']}")
        brier = sum((p - y) ** 2 for p, y in rows) / len(rows)
        m.check(abs(brier - metrics["brier"]) < 1e-7, f"{brier}, {metrics['brier']}")
        if split == "validation":
            f1, threshold = best_f1(rows)
            m.check(math.isclose(threshold, decision["threshold"], rel_tol=1e-7) and math.isclose(f1, metrics["f1"], rel_tol=1e-12),
                    f"best F1 {f1} at {threshold}; chosen {decision['threshold']} with {metrics['f1']}")
            at_training = json.loads((best / "manifest.json").read_text())["state"]["metrics"]["validation"]
            m.check(all(metrics[name] == value for name, value in at_training.items()), f"the same as in the run: {at_training}, {metrics}")
        else:
            intervals(metrics, rows)
    text = m.run("evaluate", run).stdout
    m.check("95 % intervals over 1,000 bootstrap resamples: auc " in text and "threshold " in text, text)
    m.check("auc_low" not in m.run_json("evaluate", run, "--bootstrap", 0)["metrics"], "--bootstrap 0: none")


def intervals(metrics, rows):
    """Beside a bootstrap that draws rows with replacement, all at once."""
    m.check(metrics["bootstrap"] == 300 and metrics["auc_low"] < metrics["auc"] < metrics["auc_high"] and
            metrics["average_precision_low"] < metrics["average_precision"] < metrics["average_precision_high"], f"{metrics}")
    dice = random.Random(1)
    values = sorted(auc(dice.choices(rows, k=len(rows))) for _ in range(300))
    low, high = values[7], values[292]
    width = high - low
    print(f"AUC {metrics['auc']:.4f}: {metrics['auc_low']:.4f} to {metrics['auc_high']:.4f}, by whole draws {low:.4f} to {high:.4f}")
    m.check(abs(metrics["auc_low"] - low) < 0.25 * width and abs(metrics["auc_high"] - high) < 0.25 * width, f"{low} to {high}: {metrics}")


def make_data(scratch, name, rows, fields):
    with open(scratch / f"{name}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    (scratch / f"{name}.yaml").write_text(f"version: 1\nsources:\n  - {{format: csv, file: {name}.csv}}\npartitions: 2\ncontract:\n" +
                                          "\n".join("  " + line for line in ("version: 1\nfields:\n" + fields + SPLITS).splitlines()) + "\n")
    m.run("ingest", scratch / f"{name}.yaml", "--out", scratch / name)
    m.run("validate", scratch / name)
    return scratch / name


def train_table(scratch, name, data, **evaluate):
    config = m.write_config(scratch / f"{name}.config.yaml", run={"name": name, "dir": str(scratch / "runs")}, data={"dataset": str(data)},
                            model={"name": "mlp", "hidden": [4]}, loss={"kind": "binary"}, optimizer={"learning_rate": 0.02},
                            batch={"size": 50, "lanes": 5}, train={"epochs": 2, "threads": 1}, evaluate={"micro_batch": 90, **evaluate})
    m.run("train", config, ranks=2)
    return scratch / "runs" / name


def table(seed, count):
    dice = random.Random(seed)
    rows = []
    for _ in range(count):
        a, b = dice.gauss(0, 1), dice.gauss(0, 1)
        rows.append({"a": f"{a:.4f}", "b": f"{b:.4f}", "hit": int(dice.random() < 1 / (1 + math.exp(4 - 2 * a))), "counts": 1})
    return rows


def line_by_line(scratch):
    """--stdin answers with the checkpoint's threshold and temperature."""
    rows = table(5, 1500)
    data = make_data(scratch, "table", rows, FEATURES + LABEL + WEIGHT)
    run = train_table(scratch, "lines", data, choose_threshold="cost", cost_false_negative=12, calibrate="temperature")
    m.run("predict", run, "--data", data, "--out", scratch / "lines.csv")
    scored = read_csv(scratch / "lines.csv")
    done = subprocess.run(m.command("predict", run, "--stdin"), input="\n".join(json.dumps({"a": float(row["a"]), "b": float(row["b"])})
                          for row in rows), env=m.ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True, timeout=120)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    threshold = m.run_json("explain", run)["decision"]["threshold"]
    m.check(0 < threshold < 0.5, f"a missed positive costs twelve false alarms: {threshold}")
    m.check(len(answers) == len(scored), f"{len(answers)} answers")
    given = {}
    for answer, row in zip(answers, rows):
        given.setdefault(round(answer["probability"], 5), []).append(answer)
        m.check(answer["predicted"] == (1 if answer["probability"] >= threshold * (1 - 1e-7) else 0), f"{answer}, {row}")
    m.check(0 < sum(answer["predicted"] for answer in answers) < len(answers), "both classes are predicted")
    # The file has the rows in the data's order: compared as sorted lists.
    ours, theirs = sorted(a["probability"] for a in answers), sorted(float(row["probability"]) for row in scored)
    m.check(max(abs(x - y) for x, y in zip(ours, theirs)) < 1e-5, "files and lines have the same probabilities")


def tensors_of(run):
    checkpoint = max((run / "checkpoints").glob("g*-step-*"))
    return json.loads((checkpoint / "manifest.json").read_text())["files"]["model-00001-of-00001.safetensors"]["sha256"]


def weights_count(scratch):
    """Rows of weight 0 teach nothing, whatever their labels; of weight 1 they do."""
    rows = table(6, 1000)
    runs = {}
    for name, weight, flip in (("zero", 0, False), ("zero-flipped", 0, True), ("one", 1, False), ("one-flipped", 1, True)):
        changed = [{**row, "hit": 1 - row["hit"] if flip and i % 3 == 0 else row["hit"], "counts": weight if i % 3 == 0 else 1}
                   for i, row in enumerate(rows)]
        data = make_data(scratch, name, changed, FEATURES + LABEL + WEIGHT)
        runs[name] = train_table(scratch, name, data, best_by="loss")
    loss = {name: m.run_json("evaluate", run, "--split", "validation")["metrics"]["loss"] for name, run in runs.items()}
    m.check(tensors_of(runs["zero"]) == tensors_of(runs["zero-flipped"]), "labels of rows without weight change the model")
    m.check(len({tensors_of(runs[name]) for name in ("zero", "one", "one-flipped")}) == 3, "weights change the model")
    m.check(loss["zero"] == loss["zero-flipped"], f"and the loss: {loss}")
    m.check(loss["one"] != loss["one-flipped"], f"labels of rows with weight change it: {loss}")


def refusals(scratch):
    config = scratch / "config.yaml"
    for change, says in (("evaluate.choose_threshold=best", "evaluate.choose_threshold=best"),
                         ("evaluate.least_recall=0.8", "counts only with evaluate.choose_threshold: recall"),
                         ("evaluate.split=''", "needs evaluate.split"), ("evaluate.split=test", "never reads the test split")):
        done = m.run("train", config, "--set", change, "--set", "run.name=refused", expect=78)
        m.check(says in done.stderr and len(done.stderr.strip().splitlines()) == 1, f"{change}: {done.stderr}")
    two = make_data(scratch, "two", [{**row, "also": i % 2} for i, row in enumerate(table(4, 300))],
                    FEATURES + LABEL + LABEL.replace("hit", "also"))
    for key in ("evaluate.choose_threshold=recall", "evaluate.calibrate=temperature"):
        done = m.run("train", config, "--set", f"data.dataset={two}", "--set", "run.name=refused", "--set", "evaluate.choose_threshold=none",
                     "--set", "evaluate.calibrate=none", "--set", key, expect=78)
        m.check("is for one label, the run learns 2" in done.stderr, f"{key}: {done.stderr}")


def main():
    with m.Scratch() as scratch:
        run, best, data = card_fraud(scratch)
        evaluate_and_predict(scratch, run, best, data)
        refusals(scratch)
        line_by_line(scratch)
        weights_count(scratch)


main()
