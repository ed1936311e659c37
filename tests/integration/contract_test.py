"""A first contract from data nobody described: what is odd in them is named, the draft carries through ingest and
validate, and no rule knows a name: the same data under other names draft the same contract."""

import csv
import datetime
import gzip
import os
import pathlib
import random
import re

import muster_runs as m

NAMES = ["id", "when", "amount", "units", "zip", "flag", "shop", "empty", "code", "still", "marker", "ref"]


def rows(count, seed=3):
    dice = random.Random(seed)
    start = datetime.datetime(2024, 1, 1)
    table = []
    for row in range(count):
        table.append([f"k{row}", str(start + datetime.timedelta(minutes=17 * row)), f"{dice.uniform(0, 90):.2f}",
                      -dice.randint(1, 5) if row % 100 == 50 else dice.randint(0, 40), f"{dice.randint(0, 99999):05}",
                      dice.choice(["Yes", "no"]), dice.choice(["Rome", "Oslo", "São Paulo"]),
                      "" if row % 10 == 3 else f"{dice.gauss(0, 1):.3f}", 10000 + dice.randint(0, 30), "x",
                      -1 if row % 4 == 1 else dice.randint(0, 9), "C77" if row % 200 == 9 else str(dice.randint(1, 10 ** 6))])
    return table + table[5:8]  # three rows twice: the time goes back there


def write_csv(path, names, table, delimiter=",", decimal=".", encoding="utf-8"):
    opened = gzip.open(path, "wt", newline="", encoding=encoding) if path.suffix == ".gz" else open(path, "w", newline="", encoding=encoding)
    with opened as file:
        writer = csv.writer(file, delimiter=delimiter)
        if names:
            writer.writerow(names)
        for row in table:
            writer.writerow([cell.replace(".", decimal) if re.fullmatch(r"-?\d+\.\d+", str(cell)) else cell for cell in row])


def line_of(text, field):
    """The notes above a field and its line."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"  {field}: "))
    first = at
    while lines[first - 1].startswith("  # "):
        first -= 1
    return "\n".join(lines[first:at + 1])


def drafted(*files, **options):
    return m.run_json("contract", "init", *files, **options)["contract"]


def names_what_is_odd(scratch):
    write_csv(scratch / "table.csv", NAMES, rows(2000))
    text = drafted(scratch / "table.csv")
    says = {
        "id": ["role: key", "dtype: string"],
        "when": ["role: time", "dtype: int64", "2024-01-01T00:00:00"],
        "amount": ["dtype: float32", "range: [0, null]"],
        "units": ["DECIDE 20 of 2,003 are below 0 (0.999 %)", "range: [0, null]"],
        "zip": ["dtype: string", "leading zeros"],
        "flag": ["allowed: [0, 1]", "'Yes'"],
        "shop": ["dtype: string", "3 values"],
        "empty": ["DECIDE 200 of 2,003 are missing (9.99 %)", "missing: indicator", "dtype: float32"],
        "code": ["DECIDE 31 different values", "dtype: int32"],
        "still": ["DECIDE always 'x'"],
        "marker": ["DECIDE -1 is the only value below 0, 501 times", "missing_value: -1"],
        "ref": ["DECIDE 10 of 2,003 values (0.499 %) are no numbers: 'C77'", "dtype: string"],
    }
    for field, words in says.items():
        for word in words:
            m.check(word in line_of(text, field), f"'{word}' of {field}:\n{line_of(text, field)}")
    m.check("DECIDE 3 of 2,003 rows repeat an earlier row" in text and "DECIDE there is a time, when" in text, text)
    m.check("Of two values here: flag." in text, text)

    # Other names, the same contract: nothing is decided by a name.
    other = [f"f{i}" for i in range(len(NAMES))]
    write_csv(scratch / "renamed.csv", other, rows(2000))
    renamed = drafted(scratch / "renamed.csv").replace("renamed.csv", "table.csv")
    for before, after in zip(NAMES, other):
        renamed = re.sub(rf"\b{after}\b", before, renamed)
    m.check(renamed == text, "another contract under other names")
    return text


def carries_through(scratch):
    """Init, the decisions, ingest, validate: in other dialects too."""
    table = rows(2000)[:2000]
    dialects = [("plain.csv", {}), ("semicolon.csv.gz", {"delimiter": ";", "decimal": ","}),
                ("latin.csv", {"delimiter": "\t", "encoding": "windows-1252"}), ("bare.csv", {"names": None})]
    hashes = set()
    for name, dialect in dialects:
        names = dialect.pop("names", NAMES)
        path = scratch / name
        write_csv(path, names, table, **dialect)
        made, data = scratch / f"made-{name}", scratch / f"data-{name}"
        m.run("contract", "init", path, "--out", made)
        contract = made / "contract.yaml"
        text = contract.read_text()
        m.check("by: order" in text or names is None, f"rows in time order: {text}")
        m.run("ingest", made / "ingest.yaml", "--out", data)
        refused = m.run("validate", data, expect=65)
        m.check("units" in refused.stderr or names is None, refused.stderr)
        field = "units" if names else "column_4"
        text = text.replace(line_of(text, field), f"  {field}: {{dtype: int32}}")
        (data / "contract.yaml").write_text(text)
        report = m.run_json("validate", data)
        m.check(report["rows"] == 2000, f"{name}: {report}")
        if names:
            hashes.add(str(sorted(split["rows"] for split in report["splits"])) if isinstance(report["splits"], list) else str(report["splits"]))
        again = m.run("contract", "init", path, "--out", made, expect=64)
        m.check("is there already" in again.stderr, again.stderr)
    m.check(len(hashes) == 1, f"the same rows whatever the dialect: {hashes}")


def awkward_columns(scratch):
    """What could make a draft that does not parse, or that means a value as missing: it goes through as it is."""
    table = [["7" if row else "", "", "yes" if row % 2 else "", -2 ** 31 + row % 5 if row % 3 else "", 2 ** 63 + row if row % 3 else "",
              -9 * 10 ** 18 + row if row % 3 else "", 5 * 10 ** 9 + row if row % 3 else "", f"+{row}"] for row in range(400)]
    names = ["", "price", "price", "low", "huge", "deep", "2024", "plus"]
    path = scratch / "awkward.csv"
    with open(path, "wb") as file:
        file.write(",".join(names).encode() + ",Gr\xf6\xdfe\n".encode("windows-1252"))
        for row in table:
            file.write((",".join(map(str, row)) + ",\xe4\n").encode("windows-1252"))
    made, data = scratch / "awkward", scratch / "awkward-data"
    m.run("contract", "init", path, "--out", made)
    text = (made / "contract.yaml").read_text()
    for field, says in (("low", "dtype: int64"), ("low", "missing_value: -2147483649"), ("huge", "dtype: string"), ("deep", "dtype: string"),
                        ("2024", "missing_value: -1"), ("price_2", "missing_value: 255"), ("plus", "dtype: int32"), ("Gr_e", "dtype: string")):
        m.check(says in line_of(text, field), f"{says} of {field}: {line_of(text, field)}")
    m.run("ingest", made / "ingest.yaml", "--out", data)
    m.check(m.run_json("validate", data)["rows"] == 400, "no value is out of the draft")
    profile = {field["name"]: field["splits"] for field in m.run_json("profile", data)["fields"]}
    for field, missing in (("low", 134), ("2024", 134), ("price_2", 200), ("huge", 134), ("deep", 134), ("plus", 0), ("column", 1)):
        found = sum(split["missing"] for split in profile[field].values())
        m.check(found == missing, f"{field}: {found} missing, {missing} in the file")


def as_people_write(scratch):
    """Separators of thousands, units, dates of other formats: asked about, and read."""
    dice = random.Random(5)
    table = []
    for row in range(1500):
        amount = dice.lognormvariate(6, 2)
        day = (dice.randint(1, 28), dice.randint(1, 12))
        table.append((amount, f"{amount:,.2f}", f"{dice.randint(0, 40)} %", f"{day[0]:02}.{day[1]:02}.2025 0{row % 10}:30",
                      f"{1 + day[0] % 12:02}/{day[1]:02}/2025", f"A{row % 50}", f"12 {dice.choice(['kg', 'lb'])}"))
    english, german = scratch / "english.csv", scratch / "german.csv"
    names = ["amount", "share", "when", "day", "code", "two units"]
    write_csv(english, names, [row[1:] for row in table])
    swapped = str.maketrans(",.", ".,")
    write_csv(german, names, [(row[1].translate(swapped) + "\u00a0\u20ac", *row[2:]) for row in table], delimiter=";")
    for path, decimal, thousands, unit in ((english, ".", ",", ""), (german, ",", ".", "\u20ac")):
        made, data = scratch / f"people-{path.stem}", scratch / f"people-data-{path.stem}"
        m.run("contract", "init", path, "--out", made)
        text, spec = (made / "contract.yaml").read_text(), (made / "ingest.yaml").read_text()
        for field, words in {"amount": ["are written like", "`thousands`", "dtype: float"], "share": ["`units`", 'unit: "%"', "int32"],
                             "when": ["written as %d.%m.%Y %H:%M", "role: time"],
                             "day": ["DECIDE day or month first? Read as %d/%m/%Y, %m/%d/%Y fits too"],
                             "code": ["dtype: string"], "two_units": ["dtype: string"]}.items():
            for word in words:
                m.check(word in line_of(text, field), f"'{word}' of {field}:\n{line_of(text, field)}")
        m.check(f'thousands: "{thousands}"' in spec and 'share: "%"' in spec and 'when: "%d.%m.%Y %H:%M"' in spec, spec)
        m.check(unit == "" or f'amount: "{unit}"' in spec, spec)
        m.check(("decimal" in spec) == (decimal == ","), spec)
        m.run("ingest", made / "ingest.yaml", "--out", data)
        m.run("validate", data)
        fields = m.run_json("profile", data)["fields"]
        mean = sum(row[0] for row in table) / len(table)
        amounts = next(field for field in fields if field["name"] == "amount")
        got = sum(split["mean"] * split["count"] for split in amounts["splits"].values() if split["count"]) / len(table)
        m.check(abs(got / mean - 1) < 1e-4, f"the mean is {got}, not {mean}")


def monthly_files(scratch):
    """Files of one kind, in another encoding, with two dates: the draft goes through as it is; later ones may have their columns in another order."""
    names = ["Pr\xe4mie", "gemeldet", "entschieden", "Betrug", "Gr\xf6\xdfe"]
    def write(path, order, months):
        with open(path, "w", encoding="windows-1252", newline="") as file:
            writer = csv.writer(file, delimiter=";")
            writer.writerow([names[i] for i in order])
            for row in range(300):
                cells = [f"{row % 50 + 0.5:.1f}".replace(".", ","), f"2025-{months:02}-{1 + row % 28:02}", f"2025-{months + 1:02}-{1 + row % 28:02}",
                         "ja" if row % 7 == 0 else "nein", str(1000 * row % 7)]
                writer.writerow([cells[i] for i in order])
    for month in (1, 2):
        write(scratch / f"m{month}.csv", range(5), month)
    made, data = scratch / "monthly", scratch / "monthly-data"
    m.run("contract", "init", scratch / "m1.csv", scratch / "m2.csv", "--out", made)
    text, spec = (made / "contract.yaml").read_text(), (made / "ingest.yaml").read_text()
    m.check("role: time" in line_of(text, "gemeldet") and "role: key" in line_of(text, "entschieden"), text)
    m.check("DECIDE yes or no?" in line_of(text, "Betrug"), line_of(text, "Betrug"))
    m.check(spec.count("format: csv") == 1 and "m2.csv" in spec and '"Pr\xe4mie"' in spec and "windows-1252" in spec, spec)
    m.run("ingest", made / "ingest.yaml", "--out", data)
    m.check(m.run_json("validate", data)["rows"] == 600, "the draft as it is")
    write(scratch / "m3.csv", [4, 3, 2, 1, 0], 3)
    (made / "later.yaml").write_text(re.sub(r"    files:.*?(?=    delimiter)", f"    file: {scratch}/m3.csv\n", spec, flags=re.S))
    m.run("ingest", made / "later.yaml", "--out", data, "--append")
    m.check(m.run_json("validate", data)["rows"] == 900, "columns are found by their names")


def from_hdf5(scratch):
    """Partitions without a contract get one that validate takes."""
    m.run("generate", "card-fraud", "--rows", 3000, "--partitions", 2, "--out", scratch / "fraud")
    parts = sorted((scratch / "fraud").glob("*.h5"))
    m.run("contract", "init", *parts, "--out", scratch / "from-h5")
    changes = m.run_json("contract", "diff", scratch / "fraud", scratch / "from-h5")["changes"]
    m.check(changes and not any("is gone" in change["change"] or "dtype" in change["change"] for change in changes), f"every field, as stored: {changes}")
    m.check("from 3,000 rows of" in (scratch / "from-h5" / "contract.yaml").read_text(), "rows of both files")
    m.run("generate", "tabular", "--rows", 100, "--partitions", 1, "--out", scratch / "other")
    refused = m.run("contract", "init", parts[0], *(scratch / "other").glob("*.h5"), expect=65)
    m.check("part-00000.h5" in refused.stderr and "other" in refused.stderr, f"files of different layouts: {refused.stderr}")
    report = m.run_json("validate", scratch / "from-h5")
    m.check(report["rows"] == 3000, f"{report}")


def refuses(scratch):
    noise = random.Random(4)
    binary = [(f"binary-{i}.csv", start + noise.randbytes(3000), 65) for i, start in enumerate((b"", b"\n", b"x\n", b"a,b\n1,2\n"))]
    cases = [*binary, ("wide.csv", "a,b\n1,2\n".encode("utf-16"), 65), ("empty.csv", b"", 65), ("header.csv", b"a,b,c\n", 65),
             ("broken.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), 65)]
    for name, content, code in cases:
        path = scratch / name
        path.write_bytes(content)
        refused = m.run("contract", "init", path, expect=None)
        lines = [line for line in refused.stderr.splitlines() if line.startswith("muster")]
        m.check(refused.returncode == code and len(lines) == 1 and name in lines[0], f"{name}: {refused.returncode} {refused.stderr}")
    (scratch / "a.csv").write_text("a,b\n1,2\n")
    (scratch / "b.csv").write_text("a,c\n1,2\n")
    m.check("b.csv: has other columns" in m.run("contract", "init", scratch / "a.csv", scratch / "b.csv", expect=65).stderr, "layouts")
    m.check("absent.csv" in m.run("contract", "init", scratch / "absent.csv", expect=74).stderr, "absent")


def differences(scratch):
    base = scratch / "before.yaml"
    text = """version: 1
fields:
  a: {dtype: float32, range: [0, 10]}
  b: {dtype: string, length: 4, allowed: [x, y]}
  k: {dtype: int64, role: key}
  y: {dtype: uint8, allowed: [0, 1], role: label}
splits: {by: fraction, train: 0.8, test: 0.2}
"""
    base.write_text(text)
    cases = [(("range: [0, 10]", "range: [0, 5]"), True, "range: [0.0,10.0]|range: [0,10]", "refused that passed"),
             (("range: [0, 10]", "range: [0, 20]"), True, "range", None),
             (("dtype: float32", "dtype: float64"), False, "dtype: float32 → float64", "does not fit"),
             (("  b: {dtype: string, length: 4, allowed: [x, y]}\n", ""), False, "is gone", "does not fit"),
             (("allowed: [x, y]", "allowed: [x, y, z]"), True, "allowed", None),
             (("allowed: [x, y]", "allowed: [x]"), True, "allowed", "refused that passed"),
             (("  k:", "  n: {dtype: int8}\n  k:"), True, "is new", None),
             (("train: 0.8", "train: 0.7"), True, "splits", None),
             (("range: [0, 10]", "range: [0, 10], unit: m"), False, "unit", "does not fit"),
             (("", ""), True, None, "the same contract")]
    refused = m.run("contract", "diff", scratch / "a-gone", scratch / "b-gone", expect=74)
    m.check("a-gone: is not there" in refused.stderr and "b-gone" not in refused.stderr, refused.stderr)
    for (before, after), fits, what, says in cases:
        other = scratch / "after.yaml"
        other.write_text(text.replace(before, after) if before else "# a comment\n" + text)
        result = m.run_json("contract", "diff", base, other)
        m.check(result["model_fits"] == fits, f"{after}: {result}")
        m.check(result["same"] == (what is None) and (what is None or any(word in change["change"] for change in result["changes"] for word in what.split("|"))),
                f"{after}: {result}")
        shown = m.run("contract", "diff", base, other).stdout
        m.check(says is None or says in shown, f"{says} in {shown}")
        m.check(says is not None or "refused that passed" not in shown and "does not fit" not in shown, shown)


def real_data(scratch):
    """What is known to be wrong with the online retail table is found."""
    path = pathlib.Path(os.environ.get("MUSTER_DATA", "/nowhere")) / "online-retail" / "online_retail.csv.gz"
    if not path.exists():
        print("the real table is not here: looked at made-up ones only")
        return
    text = drafted(path)
    for word in ("DECIDE 135,080 of 541,909 are missing", "DECIDE 10,624 of 541,909 are below 0", "DECIDE 5,268 of 541,909 rows repeat",
                 "DECIDE 2 of 541,909 are below 0", "DECIDE 9,291 of 541,909 values", "'C536379'"):
        m.check(word in text, f"'{word}' in\n{text}")
    m.run("contract", "init", path, "--out", scratch / "retail")
    m.run("ingest", scratch / "retail" / "ingest.yaml", "--out", scratch / "retail-data")
    refused = m.run("validate", scratch / "retail-data", expect=65)
    m.check("10626 faults" in refused.stderr.replace(",", ""), refused.stderr[-300:])


def main():
    with m.Scratch() as scratch:
        names_what_is_odd(scratch)
        carries_through(scratch)
        awkward_columns(scratch)
        as_people_write(scratch)
        monthly_files(scratch)
        from_hdf5(scratch)
        refuses(scratch)
        differences(scratch)
        real_data(scratch)


main()
