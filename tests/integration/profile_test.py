"""Statistics per field and split: the numbers that plain Python finds, the same bytes for any number of ranks, and a page
that hostile texts cannot break."""

import csv
import html.parser
import json
import math
import random

import muster_runs as m

HOSTILE = ["<script>alert(1)</script>", "\"quoted\" & 'both'", "</td></table>"]
SPEC = """version: 1
sources: [{format: csv, file: table.csv}]
partitions: 3
contract:
  version: 1
  fields:
    when: {dtype: int64, role: time}
    amount: {dtype: float64, unit: EUR, missing: impute}
    units: {dtype: int16, missing: impute, missing_value: -1}
    note: {dtype: string, length: 40, missing: impute}
    still: {dtype: float32}
    gone: {dtype: float32, missing: impute}
    large: {dtype: int64, role: key}
    sold: {dtype: uint8, allowed: [0, 1], role: label}
  splits: {by: time, field: when, train: {until: 2000}, validation: {from: 2100, until: 2600}, test: {from: 9000}}
"""


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("meta", "rect", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("rect", "line"):
            m.check(self.open and self.open.pop() == tag, f"</{tag}> closes what is open: {self.open[-3:]}")

    def handle_data(self, data):
        self.texts.append(data)


def column(rows, name, missing=""):
    return [row[name] for row in rows if row[name] != missing]


def expected(rows, name):
    values = sorted(float(value) for value in column(rows, name))
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    quantiles = {str(share): values[max(0, math.ceil(share * len(values)) - 1)] for share in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)}
    return {"count": len(values), "missing": len(rows) - len(values), "mean": mean, "deviation": deviation, "minimum": values[0],
            "maximum": values[-1], "distinct": len(set(values)), "quantiles": quantiles}


def near(found, wanted, what):
    for key, value in wanted.items():
        if isinstance(value, dict):
            near(found[key], value, f"{what}.{key}")
        else:
            m.check(math.isclose(found[key], value, rel_tol=1e-9, abs_tol=1e-12), f"{what}.{key}: {found[key]}, plain Python has {value}")


def make(scratch):
    dice = random.Random(11)
    rows = [{"when": str(row), "amount": "" if row % 9 == 2 else f"{dice.gauss(10 if row < 2100 else 14, 3):.4f}",
             "units": "" if row % 50 == 1 else str(dice.randint(0, 5)),
             "note": "" if row % 7 == 0 else dice.choice(HOSTILE + ["plain", "plain"]), "still": "2.5", "gone": "", "large": str(2 ** 60 + row % 2),
             "sold": str(int(dice.random() < 0.3))} for row in range(2700)]
    with open(scratch / "table.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (scratch / "spec.yaml").write_text(SPEC)
    m.run("ingest", scratch / "spec.yaml", "--out", scratch / "data")
    m.run("validate", scratch / "data", "--block-rows", 128)
    return {"train": rows[:2000], "validation": rows[2100:2600], "(no split)": rows[2000:2100] + rows[2600:], "test": []}


def main():
    with m.Scratch() as scratch:
        splits = make(scratch)
        page = scratch / "page.html"
        for ranks in (1, 2, 3):
            m.run("profile", scratch / "data", "--out", scratch / f"profile{ranks}.json", "--html", page, ranks=ranks)
        first = (scratch / "profile1.json").read_bytes()
        m.check(all((scratch / f"profile{ranks}.json").read_bytes() == first for ranks in (2, 3)), "the same bytes for 1, 2, 3 ranks")
        profile = json.loads(first)
        m.check({split["name"]: split["rows"] for split in profile["splits"]} == {name: len(rows) for name, rows in splits.items()},
                f"{profile['splits']}")
        fields = {field["name"]: field["splits"] for field in profile["fields"]}
        for name, rows in splits.items():
            for field in ("amount", "units", "sold", "when") if rows else ():
                near(fields[field][name], expected(rows, field), f"{field} of {name}")
                histogram = fields[field][name]["histogram"]
                m.check(sum(histogram) == fields[field][name]["count"] and len(histogram) == 24, f"{field}: every value in a bin: {histogram}")
            notes = column(rows, "note")
            found = fields["note"][name]
            counts = {entry["value"]: entry["count"] for entry in found.get("top", [])}
            m.check(found["count"] == len(notes) and counts == {note: notes.count(note) for note in set(notes)}, f"notes of {name}: {found}")
            m.check(fields["gone"][name]["count"] == 0 and fields["gone"][name]["missing"] == len(rows), "nothing there")
            m.check(fields["still"][name].get("distinct", 1) == 1, "one value")
        m.check(fields["large"]["train"]["exact"] is False and "distinct" not in fields["large"]["train"], "no double tells them apart")
        # The largest distance of the distribution functions, by hand.
        a, b = (sorted(float(v) for v in column(splits[name], "amount")) for name in ("train", "validation"))
        far = max(abs(sum(v <= x for v in a) / len(a) - sum(v <= x for v in b) / len(b)) for x in a[::7] + b)
        m.check(abs(fields["amount"]["validation"]["distance"] - far) < 0.01, f"{fields['amount']['validation']['distance']}, by hand {far}")
        m.check(fields["amount"]["test"]["distance"] is None, "nothing to compare")

        text = page.read_text()
        parser = Page()
        parser.feed(text)
        m.check(not parser.open and "script" not in parser.tags and "http" not in text, f"whole, without scripts and links: {parser.open}")
        m.check(any(HOSTILE[0] in shown for shown in parser.texts), "a hostile text is shown as text")
        m.check(parser.tags.count("svg") >= 2 and parser.tags.count("h2") == 9, f"pictures and sections: {parser.tags.count('h2')}")
        shown = m.run("profile", scratch / "data").stdout
        for says in ("still: always '2.5' in train", "gone: 100 % missing in train", "amount: validation is at a distance"):
            m.check(says in shown and says.split(" in ")[0] in "".join(parser.texts), f"'{says}' in\n{shown}")
        m.check("contract.yaml" in m.run("profile", scratch, expect=78, ranks=2).stderr, "a folder that is no dataset")


main()
