"""A person's own CSV file to an honest model: ingest, validate, train on 2 ranks, evaluate on rows it never saw."""

import csv
import gzip
import os
import random

import muster_runs as m

CONTRACT = """version: 1
fields:
  area: {dtype: float32, unit: m2, range: [0, 500], missing: indicator}
  rooms: {dtype: int16}
  garden: {dtype: uint8, allowed: [0, 1]}
  sold_at: {dtype: int64, role: time, unit: s}
  price: {dtype: float32, unit: 100 kEUR, role: label}
never_features: [sold_at]
splits:
  by: time
  field: sold_at
  train: {until: 2021-01-01}
  validation: {from: 2021-01-01, until: 2021-07-01}
  test: {from: 2021-07-01}
"""

SPEC = """version: 1
sources:
  - format: csv
    file: sales.csv.gz
    delimiter: ";"
    columns: {area: Living area (m2), garden: Garden, price: Price}
    values: {garden: {"yes": 1, "no": 0}}
    bad_rows: BAD_ROWS
partitions: 4
contract: contract.yaml
"""


def write_table(path, rows):
    """Prices that follow from the columns but for a little noise; every 500th row is cut off."""
    dice = random.Random(4)
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["note", "sold_at", "Living area (m2)", "rooms", "Garden", "Price"])
        for row in range(rows):
            area, rooms, garden = dice.uniform(20, 300), dice.randint(1, 8), dice.random() < 0.4
            price = area / 100 + 0.3 * rooms + (1.0 if garden else 0.0) + dice.gauss(0, 0.1)
            day = f"{2019 + row * 3 // rows}-{1 + row * 36 // rows % 12:02}-{1 + row % 28:02}"
            cells = ['a "fine" house;\nquiet', day, "" if row % 50 == 0 else f"{area:.2f}", rooms, "yes" if garden else "no", f"{price:.4f}"]
            writer.writerow(cells[:4] if row % 500 == 499 else cells)


def peak_memory(scratch, megabytes):
    """Of an ingest of a file of that size, in MB."""
    block = "".join(f'{i},"a text, quoted {i}",{i % 1000 / 8}\n' for i in range(30000)).encode()
    with open(scratch / "long.csv", "wb") as file:
        file.write(b"id,note,value\n")
        for _ in range(max(1, megabytes * 10**6 // len(block))):
            file.write(block)
    (scratch / "long.yaml").write_text("""version: 1
sources: [{format: csv, file: long.csv}]
contract:
  version: 1
  fields: {id: {dtype: int64}, note: {dtype: string, length: 24}, value: {dtype: float32}}
  splits: {by: fraction, train: 1}
""")
    command = m.command("ingest", scratch / "long.yaml", "--out", scratch / f"long{megabytes}", "--threads", 2)
    _, status, used = os.wait4(os.spawnve(os.P_NOWAIT, command[0], command, m.ENVIRONMENT), 0)
    m.check(status == 0, f"ingest of {megabytes} MB: {status}")
    return used.ru_maxrss / 1000


def bounded_memory(scratch):
    small, large = peak_memory(scratch, 1), peak_memory(scratch, 150)
    print(f"peak memory of an ingest: {small:.0f} MB for a file of 1 MB, {large:.0f} MB for one of 150 MB")
    m.check(large - small < 50, f"memory grows with the file: {small} MB, {large} MB")


def main():
    with m.Scratch() as scratch:
        bounded_memory(scratch)
        write_table(scratch / "sales.csv.gz", 6000)
        (scratch / "contract.yaml").write_text(CONTRACT)
        spec = scratch / "spec.yaml"
        spec.write_text(SPEC.replace("BAD_ROWS", "refuse"))
        refused = m.run("ingest", spec, "--out", scratch / "data", expect=65)
        m.check("12 of 6,000 rows are wrong" in refused.stderr and "sales.csv.gz:1000: 4 fields, not 6" in refused.stderr,
                f"wrong rows by line: {refused.stderr}")
        spec.write_text(SPEC.replace("BAD_ROWS", "skip"))
        m.run("ingest", spec, "--out", scratch / "data", "--shuffle", 3)
        report = m.run_json("validate", scratch / "data")
        m.check(report["rows"] == 5988, f"rows: {report}")
        config = m.write_config(scratch / "config.yaml", run={"name": "own", "dir": str(scratch / "runs")},
                                data={"dataset": str(scratch / "data")}, model={"name": "mlp", "hidden": [32]},
                                batch={"size": 64, "lanes": 8}, optimizer={"learning_rate": 0.01}, train={"epochs": 12, "threads": 1})
        m.run("train", config, ranks=2)
        metrics = m.run_json("evaluate", scratch / "runs" / "own", "--split", "test")["metrics"]
        print(f"RMSE {metrics['rmse']:.3f}; noise 0.1, spread of the prices about 1.2")
        m.check(metrics["rmse"] < 0.3, f"learnt: {metrics}")


main()
