"""Scores of a checkpoint: the evaluation's metric follows from them, the same bytes for any number of ranks, and what
breaks the checkpoint's contract is refused by name, in files and line by line."""

import csv
import io
import json
import random
import re
import subprocess

import muster_runs as m

INPUTS = """
  size: {dtype: float32, range: [0, 100], missing: impute}
  shop: {dtype: string, length: 8, transform: {category: {min_count: 5}}}
  plan: {dtype: string, length: 8, allowed: [basic, gold]}
  weight: {dtype: float64, missing: impute}
  visits: {dtype: int32, missing: drop, missing_value: -1}
"""
SPLITS = "splits: {by: fraction, seed: 5, stratified: true, train: 0.7, validation: 0.1, test: 0.2}\n"
LABEL = "  churn: {dtype: uint8, allowed: [0, 1], role: label}\n"
KEY = "  customer: {dtype: string, length: 12, role: key}\n  predicted: {dtype: int32, role: key}\n"
SOURCES = "sources:\n  - {format: csv, file: FILE}\n"


def make_table(path, rows, seed):
    dice = random.Random(seed)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer", "predicted", "size", "shop", "plan", "weight", "visits", "churn"])
        for row in range(rows):
            size, visits = dice.uniform(0, 100), dice.randint(0, 30)
            shop, plan = f"s{dice.randint(0, 9)}", dice.choice(["basic", "gold"])
            churn = dice.random() < (0.6 if plan == "basic" else 0.2) * (1 - size / 200) + (0.2 if shop in ("s1", "s2") else 0)
            writer.writerow([f"c,{row:05}", row, "" if row % 40 == 7 else f"{size:.3f}", shop, plan, f"{dice.gauss(0, 1):.4f}",
                             "" if row % 50 == 9 else visits, int(churn)])


def make_data(scratch, name, table, fields, splits=SPLITS):
    """A validated dataset of a table's columns."""
    spec = scratch / f"{name}.yaml"
    spec.write_text("version: 1\n" + SOURCES.replace("FILE", table.name) + "partitions: 3\ncontract:\n" +
                    "\n".join("  " + line for line in ("version: 1\nfields:\n" + fields + splits).splitlines()))
    m.run("ingest", spec, "--out", scratch / name)
    m.run("validate", scratch / name)
    return scratch / name


def auc(rows):
    """From the file alone: ties count half."""
    order = sorted((float(row["probability"]), int(row["churn"])) for row in rows)
    twice, negatives, at = 0, 0, 0
    while at < len(order):
        end = at
        while end < len(order) and order[end][0] == order[at][0]:
            end += 1
        positive = sum(label for _, label in order[at:end])
        twice += positive * (2 * negatives + (end - at - positive))
        negatives += end - at - positive
        at = end
    return twice / 2 / (negatives * (len(order) - negatives))


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def answer(run, text, expect=0):
    done = subprocess.run(m.command("predict", run, "--stdin"), input=text, env=m.ENVIRONMENT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    m.check(done.returncode == expect, f"exit {done.returncode}: {done.stderr}{done.stdout}")
    return done


def whole_datasets(scratch, run, data, table):
    """Order, keys, metric, ranks."""
    for ranks in (1, 2, 3):
        m.run("predict", run, "--data", data, "--split", "test", "--out", scratch / f"test{ranks}.csv", ranks=ranks)
    first = (scratch / "test1.csv").read_bytes()
    m.check(all((scratch / f"test{ranks}.csv").read_bytes() == first for ranks in (2, 3)), "the same bytes for 1, 2, 3 ranks")
    rows = read_csv(scratch / "test1.csv")
    metrics = m.run_json("evaluate", run, "--split", "test", ranks=2)["metrics"]
    m.check(auc(rows) == metrics["auc"], f"AUC from the file {auc(rows)}, of the evaluation {metrics['auc']}")
    predicted = [sum(1 for row in rows if row["predicted"] == p and row["churn"] == c) for c in "01" for p in "01"]
    m.check(predicted == sum(metrics["confusion"], []), f"confusion {predicted}, {metrics['confusion']}")

    result = m.run_json("predict", run, "--data", data, "--out", scratch / "all.csv", ranks=2)
    everything = read_csv(scratch / "all.csv")
    kept = [row for row in table if row["visits"] != ""]
    m.check([row["data.predicted"] for row in everything] == [row["predicted"] for row in kept], "a key with a name of ours")
    m.check([row["customer"] for row in everything] == [row["customer"] for row in kept], "keys in the data's order")
    m.check(result["rows"] == len(kept) and result["rows_left_out"] == len(table) - len(kept) > 0, f"{result}")
    by_key = {row["customer"]: float(row["probability"]) for row in everything}
    m.check(all(abs(by_key[row["customer"]] - float(row["probability"])) < 1e-6 for row in rows), "whole and split agree")

    refused = m.run("predict", run, "--data", data, "--out", scratch / "all.csv", expect=64)
    m.check("--overwrite" in refused.stderr, refused.stderr)
    m.run("predict", run, "--data", data, "--out", scratch / "all.csv", "--overwrite")
    m.run("predict", run, "--data", data, "--out", scratch / "all.h5")
    m.run("predict", run, "--data", data, "--out", scratch / "all.h5", "--overwrite")
    m.check((scratch / "all.h5").read_bytes()[:4] == b"\x89HDF", "an HDF5 file")
    refused = m.run("predict", run, "--data", data, "--out", scratch / "all.txt", expect=64)
    m.check(".csv" in refused.stderr, refused.stderr)
    return by_key


def other_data(scratch, run, table):
    """New data by a contract of their own: no label, other order; what breaks the checkpoint's is named."""
    loose = INPUTS.replace(", range: [0, 100]", "").replace(", allowed: [basic, gold]", "")
    all_rows = "splits: {by: fraction, train: 1}\n"

    def write(name, change=lambda row: None, header=None):
        rows = [dict(row) for row in table[:200]]
        for row in rows:
            change(row)
        path = scratch / f"{name}.csv"
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, header or ["plan", "visits", "customer", "shop", "size", "weight", "predicted"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        return path

    fresh = make_data(scratch, "fresh", write("fresh"), KEY + loose, all_rows)
    m.run("predict", run, "--data", fresh, "--out", scratch / "fresh-scores.csv", ranks=2)
    scores = read_csv(scratch / "fresh-scores.csv")
    m.check(len(scores) == sum(1 for row in table[:200] if row["visits"] != "") and "churn" not in scores[0], "no label needed")

    def set_in_row_17(field, value):
        return lambda row: row.update({field: value} if row is not None and row["customer"] == "c,00017" else {})

    cases = [("large", set_in_row_17("size", "100.5"), KEY + loose, 65, r"size\[17\]: 100\.5 .*contract"),
             ("unknown", set_in_row_17("plan", "silver"), KEY + loose, 65, r"plan\[17\]: .*silver"),
             ("retyped", lambda row: None, KEY + loose.replace("visits: {dtype: int32", "visits: {dtype: int64"), 78, "'visits' is int32"),
             ("unit", lambda row: None, KEY + loose.replace("size: {dtype: float32", "size: {unit: km, dtype: float32"), 78, "'size' is in 'km'"),
             ("absent", lambda row: None, KEY + re.sub("  shop:.*\n", "", loose), 78, "'shop'"),
             ("strict", lambda row: row.update({"visits": row["visits"] or "3"}),
              KEY + loose.replace("missing: drop, missing_value: -1", "missing: forbid"), 78, "'visits' is missing where it is -1")]
    for name, change, fields, code, says in cases:
        data = make_data(scratch, name, write(name, change), fields, all_rows)
        out = scratch / f"{name}-scores.csv"
        for ranks in (0, 2):
            refused = m.run("predict", run, "--data", data, "--out", out, ranks=ranks, expect=code)
            ours = [line for line in refused.stderr.splitlines() if line.startswith("muster")]
            m.check(len(ours) == 1 and re.search(says, ours[0]), f"{name}: {says} in {refused.stderr}")
            m.check(not list(scratch.glob(f"{name}-scores.csv*")), f"{name}: a file is left")
    # A shop that training never saw is what `category` makes of it: no fault.
    data = make_data(scratch, "new-shop", write("new-shop", set_in_row_17("shop", "s99")), KEY + loose, all_rows)
    m.run("predict", run, "--data", data, "--out", scratch / "new-shop-scores.csv")


def line_by_line(run, table, by_key):
    """CSV and JSON lines, in any order of columns; each answered by itself."""
    sample = table[:60]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["visits", "note", "plan", "weight", "shop", "customer", "size"], restval="x", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(sample)
    done = answer(run, text.getvalue())
    answers = list(csv.DictReader(io.StringIO(done.stdout)))
    m.check([row["customer"] for row in answers] == [row["customer"] for row in sample], "one answer a line, keys kept")
    for row, given in zip(answers, sample):
        if given["visits"] == "":
            m.check("'visits' is missing" in row["error"] and row["probability"] == "", f"{row}")
        else:
            m.check(row["error"] == "" and abs(float(row["probability"]) - by_key[row["customer"]]) < 1e-5, f"{row}")
    scored = sum(1 for given in sample if given["visits"] != "")
    m.check(f"{scored} lines scored, {60 - scored} left out" in done.stderr and scored < 60, done.stderr)

    good = {"customer": "a", "size": 50, "shop": "s1", "plan": "gold", "visits": 3, "weight": None}
    lines = [good, {**good, "size": None}, {**good, "shop": "never seen"[:8]}, {**good, "plan": "silver"},
             {**good, "size": 101}, {**good, "visits": "3"}, {k: v for k, v in good.items() if k != "plan"}, {**good, "weight": 1e300, "predicted": 7},
             {("siez" if k == "size" else k): v for k, v in good.items()}]
    done = answer(run, "\n".join(json.dumps(line) for line in lines) + "\nnot json\n\n" + json.dumps(good) + "\n", expect=65)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    m.check(len(answers) == 11, f"an answer for every line that is not blank: {answers}")
    m.check(all("probability" in answers[i] and answers[i]["customer"] == "a" for i in (0, 1, 2, 10)), f"{answers}")
    for i, word in ((3, "silver"), (4, "101"), (5, "'visits'"), (6, "'plan'"), (7, "float32"), (8, "did you mean 'siez'"), (9, "JSON")):
        m.check(word in answers[i]["error"] and "probability" not in answers[i], f"{word} in {answers[i]}")
    m.check(answers[0] == answers[10], "an answer depends on its line alone")
    m.check(answers[7]["data.predicted"] == 7 and "predicted" not in answers[7], f"a key with a name of ours: {answers[7]}")
    m.check("7 refused" in done.stderr, done.stderr)

    for header, says in (("customer,size,shop,plan,weight", "'visits'"), ("size,size,shop,plan,weight,visits", "two columns 'size'")):
        m.check(says in answer(run, header + "\n", expect=65).stderr, says)
    m.check("empty" in answer(run, "", expect=65).stderr, "nothing at all")
    m.check("no mpirun" in m.run("predict", run, "--stdin", ranks=2, expect=64).stderr, "one process")
    m.check("--out" in m.run("predict", run, expect=64).stderr, "usage")

    # A service: each line is answered before the next one is sent.
    service = subprocess.Popen(m.command("predict", run, "--stdin"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, bufsize=1, env=m.ENVIRONMENT)
    for i in range(3):
        service.stdin.write(json.dumps({**good, "customer": str(i)}) + "\n")
        m.check(json.loads(service.stdout.readline())["customer"] == str(i), "answered at once")
    service.stdin.close()
    m.check(service.wait(timeout=60) == 0, "ends with its input")


def in_its_own_dialect(scratch, run, by_key):
    """Next month's file as the system that makes it writes it: other delimiters, names, numbers, words, encoding, and no
    labels. Line by line by the ingest spec, and as a dataset made by the spec without labels."""
    table = read_csv(scratch / "table.csv")[:300]
    words = {"basic": "Gr\xfcn", "gold": "gold"}
    names = ["Kunde", "Nr", "Gr\xf6\xdfe", "Laden", "Tarif", "Gewicht", "Besuche"]
    export = scratch / "export.csv"
    with open(export, "w", newline="", encoding="latin-1") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(names)
        for row in table:
            writer.writerow([row["customer"], row["predicted"], row["size"].replace(".", ",") + " %" if row["size"] else "-", row["shop"],
                             words[row["plan"]], row["weight"].replace(".", ","), row["visits"] or "-"])
    source = {"format": "csv", "file": "last-month.csv", "delimiter": ";", "decimal": ",", "encoding": "latin1", "missing": ["-"],
              "units": {"size": "%"}, "columns": dict(zip(("customer", "predicted", "size", "shop", "plan", "weight", "visits", "churn"),
                                                          ["Kunde", "Nr", "Gr\xf6\xdfe", "Laden", "Tarif", "Gewicht", "Besuche", "Churn"])),
              "values": {"churn": {"ja": 1, "nein": 0}}}
    contract = "version: 1\nfields:\n" + KEY.rstrip() + INPUTS.replace("allowed: [basic, gold]", "allowed: [Gr\xfcn, gold]") + LABEL + SPLITS
    (scratch / "export-contract.yaml").write_text(contract)
    spec = scratch / "export.yaml"
    spec.write_text(json.dumps({"version": 1, "sources": [source], "partitions": 2, "contract": "export-contract.yaml"}, ensure_ascii=False))

    # The checkpoint's contract knows `basic`: the export's own word for it is refused, by line; all else is the same.
    def scored(spec_file, text):
        done = subprocess.run(m.command("predict", run, "--stdin", "--spec", spec_file), input=text, env=m.ENVIRONMENT,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=120)
        return done.returncode, list(csv.DictReader(io.StringIO(done.stdout.decode()))), done.stderr.decode()

    code, answers, said = scored(spec, export.read_bytes())
    m.check(code == 65 and len(answers) == 300, f"exit {code}: {said}")
    compared = 0
    for row, answer_row in zip(table, answers):
        m.check(answer_row["customer"] == row["customer"], answer_row)
        if row["plan"] == "basic":
            m.check("'Gr\xfcn' is no allowed 'plan'" in answer_row["error"] or "'visits' is missing" in answer_row["error"], answer_row)
        elif row["customer"] in by_key and row["visits"]:
            m.check(abs(float(answer_row["probability"]) - by_key[row["customer"]]) < 1e-6, answer_row)
            compared += 1
    m.check(compared > 10, f"{compared} compared with the scores of the training table")
    # Without a header columns have numbers.
    bare = {**source, "header": False, "columns": dict(zip(("customer", "predicted", "size", "shop", "plan", "weight", "visits"), range(1, 8)))}
    (scratch / "bare.yaml").write_text(json.dumps({"version": 1, "sources": [bare], "contract": "none.yaml"}, ensure_ascii=False))
    m.check(scored(scratch / "bare.yaml", b"\n".join(export.read_bytes().split(b"\n")[1:]))[1] == answers, "the same without a header")
    numbered = {**source, "columns": {**source["columns"], "customer": 1}}
    (scratch / "numbered.yaml").write_text(json.dumps({"version": 1, "sources": [numbered], "contract": "none.yaml"}, ensure_ascii=False))
    m.check(scored(scratch / "numbered.yaml", export.read_bytes())[1] == answers, "a key by the number of its column")
    code, keyless, _ = scored(spec, export.read_bytes().replace(b"Kunde;", b"Wer;"))
    m.check(code == 65 and "customer" not in keyless[0] and [a["error"] for a in keyless] == [a["error"] for a in answers], "without a key")
    code, _, said = scored(spec, export.read_bytes().replace(b"Laden", b"Filiale"))
    m.check(code == 65 and said.count("\n") == 1 and "no column 'Laden' for the field 'shop'" in said, said)
    for words in (("predict", run, "--data", scratch / "data", "--out", scratch / "x.csv"), ("predict", run, "--stdin"), ("evaluate", run)):
        none = m.run(*words, "--device", "cuda", expect=78, environment={"CUDA_VISIBLE_DEVICES": ""}).stderr
        m.check("has no GPU" in none and len(none.strip().splitlines()) == 1 and not (scratch / "x.csv").exists(), f"{words}: {none}")
    wrong = m.run("predict", run, "--spec", spec, "--data", scratch / "data", "--out", scratch / "x.csv", expect=64).stderr
    m.check("--spec says how --stdin" in wrong and "--unlabelled" in wrong, wrong)
    (scratch / "two.yaml").write_text(json.dumps({"version": 1, "sources": [source, source], "contract": "none.yaml"}))
    code, _, said = scored(scratch / "two.yaml", b"")
    m.check(code == 78 and "two.yaml:1:" in said and "one source of format csv" in said, said)

    # The same file as a dataset: no label in it, none in its contract.
    made = scratch / "export-data"
    m.check("no column 'Churn'" in m.run("ingest", spec, "--files", export, "--out", made, expect=78).stderr, "a label is wanted")
    m.run("ingest", spec, "--files", export, "--unlabelled", "--out", made)
    m.check("churn" not in (made / "contract.yaml").read_text(), "the contract has no label")
    m.run("validate", made)
    (made / "contract.yaml").write_text((made / "contract.yaml").read_text().replace("Gr\xfcn", "basic"))
    m.check("'plan'" in m.run("validate", made, expect=65).stderr, "the export's own word")
    less = scratch / "less-data"
    m.run("ingest", spec, "--files", export, "--unlabelled", "--without", "predicted", "--out", less)
    m.check("predicted" not in (less / "contract.yaml").read_text(), "nor that key")
    m.check("no field 'predict'" in m.run("ingest", spec, "--without", "predict", "--out", scratch / "none", expect=78).stderr, "a name")


def main():
    with m.Scratch() as scratch:
        make_table(scratch / "table.csv", 4000, 1)
        table = read_csv(scratch / "table.csv")
        data = make_data(scratch, "data", scratch / "table.csv", KEY + INPUTS + LABEL)
        config = m.write_config(scratch / "config.yaml", run={"name": "churn", "dir": str(scratch / "runs")},
                                data={"dataset": str(data)}, model={"name": "tabular", "width": 16}, loss={"kind": "binary"},
                                batch={"size": 64, "lanes": 8}, evaluate={"micro_batch": 100, "threshold": 0.4},
                                train={"epochs": 2, "threads": 1})
        m.run("train", config, ranks=2)
        shown = m.run_json("runs", scratch / "runs")["runs"][0]
        aucs = [e["metrics"]["auc"] for e in m.events(scratch / "runs" / "churn") if e["event"] == "evaluated"]
        m.check(len(aucs) == 2 and shown["best"]["value"] == max(aucs) and shown["metric"]["values"]["auc"] == aucs[-1], shown)
        m.check(json.loads((scratch / "runs" / "churn" / "metrics.json").read_text())["best"]["value"] == max(aucs), "metrics.json has the best")
        absent = m.run("train", config, "--drill", "kill@1:9", ranks=2, expect=64).stderr
        m.check("there are 2 ranks, no rank 9" in absent, absent)
        run = scratch / "runs" / "churn"
        by_key = whole_datasets(scratch, run, data, table)
        other_data(scratch, run, table)
        line_by_line(run, table, by_key)
        in_its_own_dialect(scratch, run, by_key)


main()
