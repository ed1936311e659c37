"""HDF5 files of other programs: compound rows, odd types, references to other files; read in place, or ingested with other types; days
added later. What comes out is compared with what h5py wrote."""

import hashlib
import json
import shutil

import muster_runs as m
import with_packages

with_packages.need("h5py", "numpy")
import h5py  # noqa: E402
import numpy as np  # noqa: E402

ROWS = 700


def particles(rows, seed):
    dice = np.random.default_rng(seed)
    kind = np.dtype([("id", "<u4"), ("pos", [("x", ">f4"), ("y", "<f8")]), ("spin", "<f2", (3,)), ("tag", "S6"), ("hit", "?"),
                     ("calib", [("gain", "<i2", (2,))], (2,))])
    table = np.zeros(rows, kind)
    table["id"] = np.arange(rows) + 10_000 * seed
    table["pos"]["x"], table["pos"]["y"] = dice.normal(size=(2, rows))
    table["spin"] = dice.normal(size=(rows, 3))
    table["tag"] = [f"t{i % 7}" for i in range(rows)]
    table["hit"] = table["pos"]["x"] + table["pos"]["y"] + dice.normal(0, 0.3, rows) > 0
    table["calib"]["gain"] = dice.integers(-9, 9, size=(rows, 2, 2))
    return table


def write_run(path, rows, seed):
    """What the file holds beside its table, by name."""
    dice = np.random.default_rng(seed + 1)
    columns = {"half": dice.normal(size=rows).astype("<f2"), "blob": np.array([bytes([i % 250 + 1] * 5) for i in range(rows)], "V5"),
               "big": dice.integers(-5, 5, size=(rows, 2)).astype(">i8"), "count": dice.integers(0, 200, rows).astype("<i4"),
               "ratio": dice.normal(size=rows)}
    with h5py.File(path, "w") as file:
        file.create_dataset("events/table", data=particles(rows, seed), chunks=(64,), compression="gzip", shuffle=True)
        for name, values in columns.items():
            file[f"events/{name}"] = values
        texts = file.create_dataset("events/note", (rows,), dtype=h5py.string_dtype())
        texts[:] = [f"note {i % 3}" for i in range(rows)]
        file["events/again"] = h5py.SoftLink("/events/ratio")
        file["single"] = 3.5
        file["refs"] = np.array([file["events"].ref, file["events"].ref], h5py.ref_dtype)
    return columns


FIELDS = """
  id: {path: /events/table, member: id, dtype: uint32, role: key}
  x: {path: /events/table, member: [pos, x], dtype: float32}
  y: {path: /events/table, member: [pos, y], dtype: float64}
  spin: {path: /events/table, member: [spin], dtype: float32, shape: [3]}
  tag: {path: /events/table, member: tag, dtype: string, length: 6}
  gain: {path: /events/table, member: [calib, gain], dtype: int16, shape: [2, 2]}
  half: {path: /events/half, dtype: float32}
  blob: {path: /events/blob, dtype: uint8, shape: [5]}
  big: {path: /events/big, dtype: int64, shape: [2], transform: none}
  ratio: {path: /events/again, dtype: float64}
  note: {path: events/note, dtype: string, length: 8}
  hit: {path: /events/table, member: hit, dtype: bool, role: label}
splits: {by: fraction, seed: 1, train: 0.7, validation: 0.2, test: 0.1}
"""


def files_below(directory):
    return {path: path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def read_in_place(scratch):
    """A dataset directory that only names partitions elsewhere: validated and trained on, nothing written beside them."""
    for day in (1, 2):
        (scratch / f"runs/day{day}").mkdir(parents=True)
        write_run(scratch / f"runs/day{day}/run.h5", ROWS, day)
    before = files_below(scratch / "runs")
    data = scratch / "in-place"
    data.mkdir()
    (data / "contract.yaml").write_text(f"version: 1\npartitions: [{scratch}/runs/*/run.h5]\nfields:" + FIELDS)
    report = m.run_json("validate", data)
    m.check(report["rows"] == 2 * ROWS, f"rows {report['rows']}")
    names = [p["name"] for p in json.loads((data / "manifest.json").read_text())["partitions"]]
    m.check(names == ["day1/run.h5", "day2/run.h5"], f"names {names}")
    config = m.write_config(scratch / "config.yaml", run={"name": "hits", "dir": str(scratch / "out")}, data={"dataset": str(data)},
                            batch={"size": 64}, model={"name": "tabular", "width": 16, "blocks": 1}, loss={"kind": "binary"},
                            optimizer={"learning_rate": 0.01}, train={"epochs": 12}, evaluate={"split": "validation"})
    m.run("train", config, ranks=2)
    metrics = m.run_json("evaluate", scratch / "out/hits", "--split", "test")["metrics"]
    m.check(metrics["auc"] > 0.9, f"x and y say it nearly all: AUC {metrics['auc']}")
    m.check(files_below(scratch / "runs") == before, "something was written beside foreign data")
    # The same data, moved: patterns relative to the root follow it.
    (data / "contract.yaml").write_text("version: 1\npartitions: ['*/run.h5']\nfields:" + FIELDS)
    moved = m.run_json("validate", data, "--root", scratch / "runs")
    m.check(moved["fingerprint"] == report["fingerprint"], "the place is no part of the fingerprint")
    lost = m.run("validate", data, expect=65)
    m.check("run.h5: matches no file" in lost.stderr, lost.stderr)


def drafted(scratch):
    out = scratch / "drafted"
    m.run("contract", "init", scratch / "runs/day1/run.h5", scratch / "runs/day2/run.h5", "--out", out)
    text = (out / "contract.yaml").read_text()
    for part in ('member: ["pos","x"]', "partitions:", "day2/run.h5", "'refs': of type reference, left out", "'single': a single value"):
        m.check(part in text, f"{part} is not in the draft:\n{text}")
    m.check(m.run_json("validate", out)["rows"] == 2 * ROWS, "the draft holds as it is")


def wrong_members(scratch):
    data = scratch / "wrong"
    data.mkdir()
    cases = {"x: {path: events/table, dtype: float32}": "is compound: `member` says which one of id, pos.x",
             "x: {path: events/table, member: [pos, z], dtype: float32}": "has no member 'pos.z'; did you mean 'pos.x'?",
             "x: {path: events/half, member: a, dtype: float32}": "is float16, the contract says that it is compound",
             "x: {path: events/table, member: [pos, y], dtype: float32}": "events/table.pos.y: is float64, the contract says float32",
             "x: {path: refs, dtype: float32}": "is reference, the contract says float32",
             "x: {path: single, dtype: float64}": "it is a single value"}
    for field, says in cases.items():
        (data / "contract.yaml").write_text(f"version: 1\npartitions: [{scratch}/runs/day1/run.h5]\nfields:\n  {field}\n"
                                            "splits: {by: fraction, train: 1}\n")
        said = m.run("validate", data, expect=65).stderr
        m.check(says in said.replace(" (did you mean", "; did you mean").replace("?)", "?") or says in said, f"{says} is not in: {said}")


SPEC = """version: 1
sources:
  - format: hdf5
    files: FILES
    datasets:
      x: {dataset: /events/table, member: [pos, x]}
      count: events/count
      ratio: {dataset: events/again}
      tag: {dataset: events/table, member: tag}
      hit: {dataset: events/table, member: hit}
row_number: row
partitions: 3
contract:
  version: 1
  fields:
    row: {dtype: int64, role: key, unique: true}
    x: {dtype: float64}
    count: {dtype: COUNT}
    ratio: {dtype: float32}
    tag: {dtype: string, length: LENGTH}
    hit: {dtype: bool, role: label}
  splits: {by: fraction, train: 0.8, test: 0.2}
"""


def ingest_spec(scratch, files, count="uint8", length="4"):
    path = scratch / "ingest.yaml"
    path.write_text(SPEC.replace("FILES", files).replace("COUNT", count).replace("LENGTH", length))
    return path


def stored(data):
    columns = {}
    for path in sorted(data.glob("part-*.h5")):
        with h5py.File(path) as file:
            for name, values in file.items():
                columns.setdefault(name, []).append(values[:])
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def ingested(scratch):
    """Other types than the files have, where nothing is lost; then a day more, without touching what is there."""
    data = scratch / "ingested"
    m.run("ingest", ingest_spec(scratch, "runs/day1/*.h5"), "--out", data, "--append")
    first = files_below(data)
    report = m.run_json("ingest", ingest_spec(scratch, "[runs/day2/run.h5]"), "--out", data, "--append")
    m.check((report["rows_before"], report["rows"], report["partitions"]) == (ROWS, ROWS, 3), f"{report}")
    for path, content in first.items():
        m.check(path.name == "sources.json" or path.read_bytes() == content, f"{path} was rewritten")
    values = stored(data)
    both = {name: [] for name in ("x", "count", "ratio", "tag", "hit")}
    for day in (1, 2):
        with h5py.File(scratch / f"runs/day{day}/run.h5") as file:
            table = file["events/table"][:]
            for name, column in (("x", table["pos"]["x"]), ("tag", table["tag"]), ("hit", table["hit"]),
                                 ("count", file["events/count"][:]), ("ratio", file["events/ratio"][:])):
                both[name].append(column)
    whole = {name: np.concatenate(parts) for name, parts in both.items()}
    m.check((values["row"] == np.arange(2 * ROWS)).all(), "rows are numbered on")
    m.check(values["x"].dtype == np.float64 and (values["x"] == whole["x"]).all(), "x")
    m.check(values["count"].dtype == np.uint8 and (values["count"] == whole["count"]).all(), "count")
    m.check((values["ratio"] == whole["ratio"].astype(np.float32)).all(), "ratio")
    m.check((values["tag"] == whole["tag"]).all() and (values["hit"] == whole["hit"]).all(), "tag, hit")
    m.check(m.run_json("validate", data)["rows"] == 2 * ROWS, "validated")
    sources = json.loads((data / "manifest.json").read_text())["sources"]
    found = [(s["files"][0]["name"], s["files"][0]["sha256"], s["partitions"][0]) for s in sources]
    expected = [(f"runs/day{day}/run.h5", hashlib.sha256((scratch / f"runs/day{day}/run.h5").read_bytes()).hexdigest(),
                 f"part-{3 * (day - 1):05}.h5") for day in (1, 2)]
    m.check(found == expected, f"sources {found}, not {expected}")


def refused_ingests(scratch):
    data = scratch / "ingested"
    before = files_below(data)
    other = m.run("ingest", ingest_spec(scratch, "runs/day1/run.h5", count="int64"), "--out", data, "--append", expect=64)
    m.check("has another contract than the spec" in other.stderr, other.stderr)
    again = m.run("ingest", ingest_spec(scratch, "runs/day1/run.h5"), "--out", data, expect=64)
    m.check("holds a dataset" in again.stderr, again.stderr)
    (data / "part-00006.h5").write_bytes((data / "part-00000.h5").read_bytes())  # as if killed between its rename and the record
    for arguments in (("validate", data), ("ingest", scratch / "ingest.yaml", "--out", data, "--append")):
        said = m.run(*arguments, expect=65 if arguments[0] == "validate" else 64).stderr
        m.check("part-00006.h5" in said and "remove it" in said, said)
    (data / "part-00006.h5").unlink()
    taken = (data / "part-00001.h5").rename(scratch / "taken.h5")  # old rows that somebody needs no more
    m.check("part-00001.h5 was ingested (sources.json) and is not there" in m.run("validate", data).stderr, "what is gone is told")
    taken.rename(data / "part-00001.h5")
    m.run("validate", data)
    (data / ".appended-part-00006.h5").write_bytes(b"half of one")
    with h5py.File(scratch / "late.h5", "w") as file, h5py.File(scratch / "runs/day1/run.h5") as day:
        day.copy("events", file)
        file["events/count"][17] = 256
    narrow = m.run("ingest", ingest_spec(scratch, "late.h5"), "--out", data, "--append", expect=65)
    m.check("late.h5:events/count[17]: cannot be a uint8 of 'count' without loss" in narrow.stderr, narrow.stderr)
    m.check(files_below(data) == before, "a failed append leaves the dataset as it was")
    for length, says in (("1", "late.h5:events/table.tag[0]: is longer than the 1 bytes of 'tag'"),):
        said = m.run("ingest", ingest_spec(scratch, "late.h5", count="int32", length=length), "--out", scratch / "short", expect=65).stderr
        m.check(says in said, said)
    nothing = m.run("ingest", ingest_spec(scratch, "nothing-*.h5"), "--out", scratch / "none", expect=65)
    m.check("nothing-*.h5: matches no file" in nothing.stderr, nothing.stderr)


def references(scratch):
    """Values in other files: read where they lie in the folder, refused where they are missing, outside, or too few."""
    folder = scratch / "virtual"
    (folder / "below").mkdir(parents=True)
    parts = [np.arange(20.0) + 100 * i for i in range(3)]
    for i, name in enumerate(("a.h5", "below/b.h5", "c.h5")):
        with h5py.File(folder / name, "w") as file:
            file["x"] = parts[i]
    shutil.copy(folder / "a.h5", scratch / "outside.h5")

    def virtual(name, members, length=60):
        layout = h5py.VirtualLayout(shape=(length,), dtype="f8")
        each = min(20, length)
        for i, member in enumerate(members):
            layout[each * i:each * i + each] = h5py.VirtualSource(member, "x", shape=(each,))
        with h5py.File(folder / name, "w", libver=("v108", "v110")) as file:
            file.create_virtual_dataset("x", layout, fillvalue=-1)

    virtual("good.h5", ["a.h5", "below/b.h5", "c.h5"])
    virtual("gone.h5", ["a.h5", "d.h5", "c.h5"])
    virtual("outside.h5", ["a.h5", "../outside.h5", "c.h5"])
    virtual("absolute.h5", ["a.h5", str(scratch / "outside.h5"), "c.h5"])
    virtual("holes.h5", ["a.h5", "below/b.h5"])
    with h5py.File(folder / "dataset.h5", "w") as file:
        file["y"] = parts[0]
    virtual("dataset-gone.h5", ["a.h5", "dataset.h5", "c.h5"])
    layout = h5py.VirtualLayout(shape=(60,), dtype="f8")  # as many values as there are, but twice the same place
    for first, member in ((0, "a.h5"), (10, "c.h5"), (20, "a.h5")):
        layout[first:first + 20] = h5py.VirtualSource(member, "x", shape=(20,))
    with h5py.File(folder / "overlap.h5", "w", libver=("v108", "v110")) as file:
        file.create_virtual_dataset("x", layout, fillvalue=-1)
    with h5py.File(folder / "column.h5", "w", libver=("v108", "v110")) as file:  # its second column comes from nowhere
        endless = h5py.h5s.UNLIMITED
        layout = h5py.VirtualLayout(shape=(20, 2), dtype="f8", maxshape=(None, 2))
        layout[0:endless, 0] = h5py.VirtualSource("endless.h5", "x", shape=(20,), maxshape=(None,))[0:endless]
        file.create_virtual_dataset("x", layout, fillvalue=-1)
    with h5py.File(folder / "endless.h5", "w") as file:
        file.create_dataset("x", data=parts[0], maxshape=(None,))
    with h5py.File(folder / "grows.h5", "w", libver=("v108", "v110")) as file:
        layout = h5py.VirtualLayout(shape=(20,), dtype="f8", maxshape=(None,))
        layout[0:endless] = h5py.VirtualSource("endless.h5", "x", shape=(20,), maxshape=(None,))[0:endless]
        file.create_virtual_dataset("x", layout, fillvalue=-1)
    (folder / "raw.bin").write_bytes(np.arange(20.0).tobytes()[:-8])
    for name, offset in (("short.h5", 0), ("raw.h5", -8)):
        with h5py.File(folder / name, "w") as file:
            file.create_dataset("x", (20 if offset == 0 else 19,), "f8", external=[("raw.bin", 0, 160 + offset)])
    virtual("external-member.h5", ["raw.h5"], 19)
    virtual("nested.h5", ["good.h5"], 20)
    virtual("nested-outside.h5", ["outside.h5"], 20)
    virtual("itself.h5", ["itself.h5"], 20)
    with h5py.File(folder / "links.h5", "w") as file:
        file["x"] = h5py.ExternalLink("below/b.h5", "/x")
        file["out"] = h5py.ExternalLink("../outside.h5", "/x")
        file["gone"] = h5py.ExternalLink("e.h5", "/x")
        file["dangling"] = h5py.SoftLink("/nothing")
    contract = "version: 1\nfields: {x: {dtype: float64}}\nsplits: {by: fraction, train: 1}\n"
    data = scratch / "referring"
    data.mkdir()
    cases = [("good.h5", 60, ""), ("nested.h5", 20, ""), ("links.h5", 20, ""),
             ("grows.h5", 20, ""), ("raw.h5", 19, ""), ("short.h5", 0, "the external file 'raw.bin', which has 152 bytes where 160 are needed"),
             ("overlap.h5", 0, "is a virtual dataset of 60 values, of which its members hold 40"),
             ("external-member.h5", 0, "of its virtual member 'raw.h5': its values are in external files"),
             ("nested-outside.h5", 0, "of its virtual member 'outside.h5': its virtual member '../outside.h5', which is outside the folder"),
             ("itself.h5", 0, "virtual datasets of each other, more than 8 deep"), ("gone.h5", 0, "its virtual member 'd.h5', which is missing"),
             ("outside.h5", 0, "its virtual member '../outside.h5', which is outside the folder of the file"),
             ("absolute.h5", 0, "which is outside the folder of the file"),
             ("holes.h5", 0, "is a virtual dataset of 60 values, of which its members hold 40"),
             ("dataset-gone.h5", 0, "its virtual member 'dataset.h5' has no dataset 'x'")]
    for name, rows, says in cases:
        (data / "contract.yaml").write_text(contract.replace("fields:", f"partitions: [{folder}/{name}]\nfields:"))
        if rows:
            m.check(m.run_json("validate", data)["rows"] == rows, f"{name} is read")
        else:
            said = m.run("validate", data, expect=65).stderr
            m.check(says in said and name in said, f"{name}: {says} is not in {said}")
    (data / "contract.yaml").write_text(contract.replace("fields: {", f"partitions: [{folder}/column.h5]\nfields: {{").replace(
        "dtype: float64", "dtype: float64, shape: [2]"))
    m.check("is a virtual dataset of 40 values, of which its members hold 20" in m.run("validate", data, expect=65).stderr, "a column")
    # A virtual dataset beside the one it takes its values from, both open at once.
    with h5py.File(folder / "both.h5", "w", libver=("v108", "v110")) as file:
        file["d"] = np.arange(20.0)
        layout = h5py.VirtualLayout(shape=(20,), dtype="f8")
        layout[:] = h5py.VirtualSource(".", "d", shape=(20,))
        file.create_virtual_dataset("x", layout, fillvalue=-1)
    (scratch / "both.yaml").write_text("version: 1\nsources: [{format: hdf5, files: virtual/both.h5}]\ncontract: {version: 1, fields: "
                                       "{d: {dtype: float64}, x: {dtype: float64}}, splits: {by: fraction, train: 1}}\n")
    alone = {"HDF5_EXTFILE_PREFIX": str(scratch), "HDF5_VDS_PREFIX": str(scratch), "HDF5_EXT_PREFIX": str(scratch)}  # leads nowhere
    m.run("ingest", scratch / "both.yaml", "--out", scratch / "both", environment=alone)
    values = stored(scratch / "both")
    m.check((values["d"] == np.arange(20.0)).all() and (values["x"] == values["d"]).all(), f"both of them: {values}")
    listed = m.run_json("inspect", "--rows", folder / "links.h5")["files"][0]["datasets"]
    whys = {d["path"]: d.get("why", "") for d in listed}
    m.check(whys["x"] == "" and "'../outside.h5', which is outside" in whys["out"] and "'e.h5', which is missing" in whys["gone"] and
            "leads nowhere" in whys["dangling"], f"{whys}")


def main():
    with m.Scratch() as scratch:
        read_in_place(scratch)
        drafted(scratch)
        wrong_members(scratch)
        ingested(scratch)
        refused_ingests(scratch)
        references(scratch)


if __name__ == "__main__":
    main()
