"""Data faults, one a line in data_faults/cases.jsonl: each put into a clean set at a random place, caught, and named with file, field, and
row or line. The clean sets themselves raise no alarm.

A case: `set` (below), `kind` (in words), `edit` (one of those in class Table, or of the partition), `stage` (where it must be caught:
ingest, validate, partition: validate after the partition was damaged, after: train on a validated set whose partition changed since,
train), `code` (exit code), `expect` (patterns of what stderr says; {line} and {row} stand for the place)."""

import collections
import gzip
import json
import math
import random
import re

import muster_runs as m

ROWS = 300
COUNTRIES = ["AT", "CH", "DE", "FR"]


class Shop:
    columns = ["order", "customer", "ordered_at", "amount", "items", "country", "item", "discount", "returned"]
    delimiter, packed, spec = ",", False, ""
    fields = """
    order: {dtype: string, length: 8, role: key, unique: true}
    customer: {dtype: string, length: 8}
    ordered_at: {dtype: int64, role: time}
    amount: {dtype: float32, range: [0, 10000], transform: [log1p, standardize]}
    items: {dtype: int16, range: [1, 100]}
    country: {dtype: string, length: 2, allowed: [AT, CH, DE, FR]}
    item: {dtype: string, length: 20, transform: {category: {min_count: 2}}}
    discount: {dtype: float32, missing: indicator, max_missing: 0.3, impute: median}
    returned: {dtype: bool, role: label}"""
    splits = "{by: fraction, seed: 2, train: 0.6, validation: 0.3, test: 0.1}"

    @staticmethod
    def row(i, dice):
        label = dice.random() < 0.4
        return [f"A{i:05}", f"C{dice.randrange(60):03}", f"2024-{1 + i * 12 // ROWS:02}-{1 + i % 28:02}T{i % 24:02}:00:00",
                f"{math.exp(dice.gauss(3 + 0.3 * label, 1)):.2f}", str(1 + dice.randrange(9)), dice.choice(COUNTRIES),
                dice.choice(["cup", 'a "fine" plate', "fork, large", "knife"]), "" if dice.random() < 0.1 else f"{dice.gauss(5, 2):.1f}",
                "yes" if label else "no"]


class Sensors:
    columns = ["reading", "plant", "read_at", "heat", "cycles", "mode", "humidity", "load", "load_at", "failed"]
    delimiter, packed, spec = ";", False, 'delimiter: ";"\n    decimal: ","'
    fields = """
    reading: {dtype: int64, role: key, unique: true}
    plant: {dtype: string, length: 6}
    read_at: {dtype: int64, role: time, transform: dates}
    heat: {dtype: float64, unit: C, range: [0, 900]}
    cycles: {dtype: int16, missing: impute, missing_value: -1, impute: median}
    mode: {dtype: string, length: 6, allowed: [idle, run, test]}
    humidity: {dtype: float32, missing: impute, max_missing: 0.3}
    load: {dtype: float32, known_at: load_at}
    load_at: {dtype: int64, role: key}
    failed: {dtype: int8, allowed: [0, 1], role: label}"""
    splits = "{by: order, train: 0.6, validation: 0.3, test: 0.1}"

    @staticmethod
    def row(i, dice):
        label = int(dice.random() < 0.3)
        return [str(70000 + 3 * i), f"P{dice.randrange(5)}", f"2024-{1 + i * 12 // ROWS:02}-{1 + i % 28:02}",
                f"{abs(dice.gauss(300 + 20 * label, 60)):.3f}".replace(".", ","), "NA" if dice.random() < 0.1 else str(dice.randrange(2000)),
                dice.choice(["idle", "run", "test"]), "" if dice.random() < 0.1 else f"{dice.gauss(50, 9):.2f}".replace(".", ","),
                f"{dice.gauss(0, 40):.2f}".replace(".", ","), f"2024-{1 + i * 12 // ROWS:02}-{1 + i % 28:02}", str(label)]


class Clinic:
    columns = ["stay", "admitted", "ward", "doctor", "weight_kg", "visits", "pressure", "note", "readmitted"]
    delimiter, packed, spec = "\t", True, "delimiter: tab"
    fields = """
    stay: {dtype: uint32, role: key, unique: true}
    admitted: {dtype: int64, role: time}
    ward: {dtype: string, length: 8, allowed: [children, surgery, unit 3]}
    doctor: {dtype: string, length: 12, transform: {hash: {buckets: 16}}}
    weight_kg: {dtype: float32, range: [0, 400]}
    visits: {dtype: int16, transform: {category: {min_count: 3}}}
    pressure: {dtype: float32, missing: indicator, max_missing: 0.3, transform: [{clip: {low: 40, high: 220}}, minmax]}
    readmitted: {dtype: bool, role: label}"""
    splits = "{by: fraction, stratified: true, seed: 1, train: 0.6, validation: 0.3, test: 0.1}"

    @staticmethod
    def row(i, dice):
        label = dice.random() < 0.5
        return [str(i + 1), f"2023-{1 + i * 12 // ROWS:02}-{1 + i % 28:02}T08:30:00", dice.choice(["children", "surgery", "unit 3"]),
                f"Dr {dice.randrange(40)}", f"{dice.gauss(72 + 3 * label, 11):.1f}", str(dice.randrange(6)),
                "" if dice.random() < 0.1 else f"{dice.gauss(120, 15):.0f}", "free text", "true" if label else "false"]


SETS = {"shop": Shop, "sensors": Sensors, "clinic": Clinic}


class Table:
    def __init__(self, kind, dice):
        self.kind, self.dice = kind, dice
        make = random.Random(5)
        self.rows = [kind.row(i, make) for i in range(ROWS)]
        self.header = list(kind.columns)
        self.contract = kind.fields
        self.at = dice.randrange(ROWS)  # the row that is hurt
        self.share_left = 1.0

    def number(self, row, column):
        text = row[self.header.index(column)].replace(",", ".")
        return float(text) if text not in ("", "NA") else 0.0

    def is_yes(self, row):
        return row[-1] in ("yes", "true", "1")

    # The edits.
    def cell(self, column, text):
        self.rows[self.at][self.header.index(column)] = text

    def more_cells(self, count):
        self.rows[self.at] += ["more"] * count

    def fewer_cells(self, count):
        del self.rows[self.at][-count:]

    def open_quote(self, column):
        self.cell(column, '"no end')

    def rename(self, column, name):
        self.header[self.header.index(column)] = name

    def copy_cell(self, column):
        other = (self.at + 1 + self.dice.randrange(ROWS - 1)) % ROWS
        self.rows[other][self.header.index(column)] = self.rows[self.at][self.header.index(column)]

    def blank_share(self, column, share):
        for row in self.rows:
            if self.dice.random() < share:
                row[self.header.index(column)] = ""

    def derive(self, column, what):
        for row in self.rows:
            value = 3.0 + 2 * self.is_yes(row) + (self.number(row, "heat") + self.number(row, "load") if what == "sum" else 0)
            text = f"{value:.4f}"
            row[self.header.index(column)] = text.replace(".", ",") if "decimal" in self.kind.spec else text

    def repeat_rows(self, share):
        """Rows again, with a key (the first column) of their own."""
        for i in range(ROWS - 1, int(ROWS * (1 - share)), -1):
            self.rows[i] = self.rows[i][:1] + self.rows[ROWS - 1 - i][1:]

    def cut_table(self, share):
        self.share_left = share

    def contract_says(self, old, new):
        assert old in self.contract, old
        self.contract = self.contract.replace(old, new)

    def write(self, folder):
        def quoted(text):
            needs = any(c in text for c in (self.kind.delimiter, '"', "\n")) and not text.startswith('"no end')
            return '"' + text.replace('"', '""') + '"' if needs else text

        lines = [self.kind.delimiter.join(map(quoted, row)) for row in [self.header] + self.rows]
        data = ("\n".join(lines) + "\n").encode().replace(rb"\xe9", b"\xe9")
        data = gzip.compress(data) if self.kind.packed else data
        (folder / "table").write_bytes(data[:int(len(data) * self.share_left)])
        (folder / "spec.yaml").write_text(f"""version: 1
sources:
  - format: csv
    file: table
    {self.kind.spec}
contract:
  version: 1
  fields: {self.contract}
  splits: {self.kind.splits}
""")


def hurt_partition(edit, file):
    if "cut" in edit:
        file.write_bytes(file.read_bytes()[:int(file.stat().st_size * edit["cut"])])
    elif "html" in edit:
        file.write_text("<!DOCTYPE html><html><body>404</body></html>\n" * 50)
    elif "delete" in edit:
        file.unlink()
    elif "flip" in edit:
        data = bytearray(file.read_bytes())
        for place in range(len(data) // 3, len(data), len(data) // 3 + 1):
            data[place] ^= 0xFF
        file.write_bytes(data)


def train(folder):
    config = m.write_config(folder / "config.yaml", run={"dir": str(folder / "runs")}, data={"dataset": str(folder / "data")},
                            model={"name": "tabular", "width": 8, "blocks": 1}, loss={"kind": "binary"}, batch={"size": 32, "lanes": 4},
                            train={"steps": 2, "threads": 1})
    return m.run("train", config, expect=None)


def stages(folder, stage, edit):
    """The process of the stage that shall fail, the ones before it having gone well."""
    if stage == "ingest":
        return m.run("ingest", folder / "spec.yaml", "--out", folder / "data", expect=None)
    m.run("ingest", folder / "spec.yaml", "--out", folder / "data")
    file = folder / "data" / "part-00000.h5"
    if stage == "partition":
        hurt_partition(edit, file)
    if stage in ("validate", "partition"):
        return m.run("validate", folder / "data", expect=None)
    m.run("validate", folder / "data")
    if stage == "after":
        hurt_partition(edit, file)
    return train(folder)


def check_clean(name, scratch):
    folder = scratch / f"clean-{name}"
    folder.mkdir()
    table = Table(SETS[name], random.Random(0))
    table.write(folder)
    done = [m.run("ingest", folder / "spec.yaml", "--out", folder / "data"), m.run("validate", folder / "data"), train(folder)]
    for process in done:
        m.check(process.returncode == 0 and "warning" not in process.stderr, f"false alarm on {name}: {process.stderr}")


def check_case(number, case, scratch):
    folder = scratch / f"case-{number}"
    folder.mkdir()
    table = Table(SETS[case["set"]], random.Random(number))
    if case["stage"] not in ("partition", "after"):  # their edits are of the partition
        for name, arguments in case["edit"].items():
            getattr(table, name)(*(arguments if isinstance(arguments, list) else [arguments]))
    table.write(folder)
    done = stages(folder, case["stage"], case["edit"])
    what = f"case {number + 1} ({case['set']}: {case['kind']})"
    m.check(done.returncode == case["code"], f"{what}: exit code {done.returncode}, not {case['code']}\n{done.stderr}")
    for pattern in case["expect"]:
        pattern = pattern.replace("{line}", str(table.at + 2)).replace("{row}", str(table.at))
        m.check(re.search(pattern, done.stderr), f"{what}: '{pattern}' is not in\n{done.stderr}")
    if case["stage"] == "ingest":
        m.check(not (folder / "data" / "contract.yaml").exists(), f"{what}: something was written")


def main():
    cases = [json.loads(line) for line in (m.SOURCE / "tests/integration/data_faults/cases.jsonl").read_text().splitlines()]
    kinds = collections.Counter(case["kind"] for case in cases)
    with m.Scratch() as scratch:
        for name in SETS:
            check_clean(name, scratch)
        for number, case in enumerate(cases):
            check_case(number, case, scratch)
    m.check(len(cases) >= 40 and len(kinds) >= 15, "fewer cases than promised")
    print(f"{len(cases)} faults of {len(kinds)} kinds on {len(SETS)} sets caught and located; no false alarm on the clean ones")


main()
