"""Many files ingested by 1, 2, 3 and 5 ranks: the same bytes, whoever reads what; a fault on one rank ends all and leaves nothing."""

import csv
import gzip
import hashlib
import json
import random

import muster_runs as m

FIELDS = "{row: {dtype: int64, role: key}, x: {dtype: float32, missing: indicator}, name: {dtype: string, length: 6}, y: {dtype: bool, role: label}}"
ROWS = [700, 1, 0, 333, 1200, 90]  # of each file; the partitions' bounds fall inside


def write_table(path, rows, seed, wrong=None):
    dice = random.Random(seed)
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x", "name", "y"])
        for row in range(rows):
            x = "" if dice.random() < 0.1 else f"{dice.gauss(0, 1):.3f}"
            writer.writerow(["nonsense" if row == wrong else x, f"n{dice.randrange(9)}", dice.choice(["yes", "no"])])


def spec(scratch, files, more=""):
    path = scratch / "ingest.yaml"
    sources = "".join(f"  - {{format: csv, file: {file}{more}}}\n" for file in files)
    path.write_text(f"version: 1\nsources:\n{sources}row_number: row\npartitions: 7\n"
                    f"contract: {{version: 1, fields: {FIELDS}, splits: {{by: fraction, train: 0.8, test: 0.2}}}}\n")
    return path


def several_as_one():
    return ("version: 1\nsources:\n  - {format: csv, files: ['day[0-2].csv*', 'day[3-5].csv*']}\nrow_number: row\npartitions: 7\n"
            f"contract: {{version: 1, fields: {FIELDS}, splits: {{by: fraction, train: 0.8, test: 0.2}}}}\n")


def content(directory):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def main():
    with m.Scratch() as scratch:
        files = [f"day{i}.csv" + (".gz" if i % 2 else "") for i in range(len(ROWS))]
        for i, file in enumerate(files):
            write_table(scratch / file, ROWS[i], i)
        several = spec(scratch, files)
        made = {}
        for ranks in (0, 1, 2, 3, 5):
            report = m.run_json("ingest", several, "--out", scratch / f"by-{ranks}", ranks=ranks)
            m.check((report["rows"], report["partitions"]) == (sum(ROWS), 7), f"{report}")
            made[ranks] = content(scratch / f"by-{ranks}")
        m.check(len(made[0]) == 7 + 2, f"7 partitions, sources.json, contract.yaml: {sorted(made[0])}")
        m.check(all(made[ranks] == made[0] for ranks in made), "other bytes by another number of ranks")
        listed = json.loads((scratch / "by-3/sources.json").read_text())["ingests"][0]["files"]
        m.check([f["name"] for f in listed] == files, f"sources in the spec's order: {listed}")
        m.check(all(f["sha256"] == hashlib.sha256((scratch / f["name"]).read_bytes()).hexdigest() for f in listed), "their hashes")
        m.check(m.run_json("validate", scratch / "by-5")["rows"] == sum(ROWS), "validated")

        m.run("ingest", several, "--out", scratch / "shuffled-1", "--shuffle", "5")
        m.run("ingest", several, "--out", scratch / "shuffled-3", "--shuffle", "5", ranks=3)
        m.check(content(scratch / "shuffled-1") == content(scratch / "shuffled-3"), "shuffled by 1 and 3 ranks")

        # A day more, by another number of ranks.
        write_table(scratch / "day6.csv", 500, 6)
        later = spec(scratch, ["day6.csv", "day0.csv"])
        known = m.run("ingest", later, "--out", scratch / "by-2", "--append", ranks=2, expect=64).stderr
        m.check("has the rows of day0.csv already" in known and "--again" in known, known)
        m.check(content(scratch / "by-2") == made[0], "nothing was added")
        for ranks in (2, 3):
            m.run("ingest", later, "--out", scratch / f"by-{ranks}", "--append", "--again", ranks=ranks)
        m.check(content(scratch / "by-2") == content(scratch / "by-3"), "appended by 2 and 3 ranks")

        # Two at once: one of them is told.
        write_table(scratch / "day7.csv", 60000, 7)
        spec(scratch, ["day7.csv"]).rename(scratch / "seven.yaml")
        both = [m.start("ingest", scratch / "seven.yaml", "--out", scratch / "by-5", "--append") for _ in range(2)]
        said = [process.communicate(timeout=120)[0] for process in both]
        codes = sorted(process.returncode for process in both)
        m.check(codes == [0, 64], f"exit codes {codes}: {said}")
        m.check("another `muster ingest` is writing there" in "".join(said) or "already" in "".join(said), f"{said}")
        m.check(m.run_json("validate", scratch / "by-5")["rows"] == sum(ROWS) + 60000, "the rows of one of them")
        m.check(not (scratch / "by-5/.ingest.lock").exists(), "the lock is gone")

        # Several files as one entry; sources of several files by ranks.
        one = scratch / "pattern.yaml"
        one.write_text(several_as_one())
        m.run("ingest", one, "--out", scratch / "pattern-1")
        m.run("ingest", one, "--out", scratch / "pattern-3", ranks=3)
        m.check(content(scratch / "pattern-1") == content(scratch / "pattern-3"), "a pattern by 1 and 3 ranks")
        m.check(json.loads((scratch / "pattern-1/sources.json").read_text())["ingests"][0]["rows"] == sum(ROWS), "all files of the pattern")

        write_table(scratch / "day3.csv.gz", 400, 3, wrong=200)  # rank 1's of 2
        before = content(scratch / "by-2")
        for out, arguments in (("by-2", ["--append"]), ("new", [])):
            said = m.run("ingest", spec(scratch, files), "--out", scratch / out, *arguments, ranks=2, expect=65).stderr
            m.check("day3.csv.gz:202: " in said and "'nonsense' is no float32 for 'x'" in said, said)
            m.check(said.count("muster: ") == 1, f"one line of the failure: {said}")
        m.check(content(scratch / "by-2") == before, "the dataset is as it was")
        m.check(not (scratch / "new").exists() or content(scratch / "new") == {}, "nothing is left")
        skipped = m.run("ingest", spec(scratch, files, ", bad_rows: skip"), "--out", scratch / "skipped", ranks=2)
        m.check("1 of 400 rows is wrong and left out" in skipped.stderr, skipped.stderr)


if __name__ == "__main__":
    main()
