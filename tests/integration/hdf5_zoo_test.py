"""Every file of a zoo of real and damaged HDF5 files (MUSTER_DATA/hdf5-zoo, skipped without it) gets an answer from inspect, validate and
ingest: no crash, no hang, one line for what cannot be used; what can be is what h5py reads."""

import collections
import concurrent.futures
import csv
import json
import os
import pathlib
import sys
import time

import muster_runs as m
import with_packages

with_packages.need("h5py", "numpy")
import h5py  # noqa: E402
import numpy as np  # noqa: E402

ZOO = pathlib.Path(os.environ.get("MUSTER_DATA", "")) / "hdf5-zoo"
LEAST_WHOLE = 56  # of the valid files: as many as the stock library can read
CODES = {0, 65}


def zoo_files():
    with open(ZOO / "MANIFEST.tsv", newline="") as manifest:
        return list(csv.DictReader(manifest, delimiter="\t"))


def inspected(entries):
    started = time.monotonic()
    done = m.run("inspect", "--rows", "--json", *[ZOO / e["file"] for e in entries], expect=65)
    m.check(time.monotonic() - started < 120, "inspect took too long")
    answers = json.loads(done.stdout.strip().splitlines()[-1])["files"]
    m.check(len(answers) == len(entries), f"{len(answers)} answers for {len(entries)} files")
    whole = 0
    for entry, answer in zip(entries, answers):
        if "refused" in answer:
            m.check(entry["group"] == "damaged", f"the valid file {entry['file']} is refused: {answer['refused']}")
            line = [line for line in done.stderr.splitlines() if entry["file"] in line]
            m.check(len(line) == 1 and answer["refused"] in line[0], f"one line for {entry['file']}, not {line}")
        elif entry["group"] != "damaged":
            # A link that leads nowhere is no dataset that was not read.
            bad = [d for d in answer["datasets"] if not d["field"] and d["type"] != "link" and
                   any(word in d["why"] for word in ("compressed with", "missing", "outside", "virtual"))]
            whole += not bad
    m.check(whole >= LEAST_WHOLE, f"{whole} valid files read whole, {LEAST_WHOLE} expected")
    refused = sum("refused" in a for a in answers)
    print(f"inspect: {whole} of {sum(e['group'] != 'damaged' for e in entries)} valid files read whole, {refused} files refused")
    return answers


def names_what_is_missing(entries, answers):
    """What the lines say of some that miss something."""
    says = {"filter/lz4_datasets.hdf5": "lz4 (HDF5 filter 32004)", "filter/h5ex_d_zstd.h5": "zstd (HDF5 filter 32015)",
            "filter/tudfilter.h5": "(HDF5 filter 300)", "layout/h5ex_d_extern.h5": "external file 'h5ex_d_extern.data', which is missing",
            "layout/vds/vds-eiger.h5": "its virtual member 'f-1.h5' is missing, though 'f-3.h5' is there",
            "damaged/h5clear_sec2_v3.h5": "left open by a writer", "damaged/tfamily00000.h5": "is truncated: 256 bytes"}
    for entry, answer in zip(entries, answers):
        expected = says.pop(entry["file"], "")
        text = answer.get("refused", "") + "".join(d.get("why", "") for d in answer.get("datasets", []))
        m.check(expected in text, f"{entry['file']}: {expected} is not in {text}")
    m.check(not says, f"the zoo has no {list(says)}")


def usable(answer):
    """The fields that one dataset can have: the datasets of most values with as many rows as most have."""
    fields = [d for d in answer.get("datasets", []) if d["field"] and min(d["shape"]) > 0]
    rows = collections.Counter(d["shape"][0] for d in fields).most_common(1)
    return [d for d in fields if d["shape"][0] == rows[0][0]] if rows else []


def field_text(number, dataset):
    options = [f"dtype: {dataset['dtype']}", f"path: {json.dumps(dataset['path'])}"]
    if "member" in dataset:
        options.append(f"member: {json.dumps(dataset['member'])}")
    if dataset["dtype"] == "string":
        options += [f"length: {dataset.get('length', 1024)}", "missing: indicator"]
    if len(dataset["shape"]) > 1:
        options.append(f"shape: {dataset['shape'][1:]}")
    elif dataset["dtype"].startswith("float"):
        options.append("missing: indicator")
    return f"  f{number}: {{{', '.join(options)}}}\n"


def contract(fields, partitions=""):
    if not fields:  # something that the file may have
        fields = [{"path": "x", "dtype": "float32", "shape": [1]}]
    return ("version: 1\n" + partitions + "fields:\n" + "".join(field_text(i, f) for i, f in enumerate(fields)) +
            "splits: {by: fraction, train: 0.8, test: 0.2}\n")


def answered(done, path):
    m.check(done.returncode in CODES, f"{' '.join(done.args)}: exit code {done.returncode}\n{done.stderr}")
    if done.returncode:
        m.check(path.name in done.stderr and done.stderr.strip().splitlines()[-1].startswith("muster: "), f"no line for {path}: {done.stderr}")


def validated(scratch, number, entry, fields):
    path = ZOO / entry["file"]
    data = scratch / f"validate-{number}"
    data.mkdir()
    (data / "contract.yaml").write_text(contract(fields, f"partitions: [{json.dumps(str(path))}]\n"))
    done = m.run("validate", data, expect=None, timeout=60)
    answered(done, path)
    m.check(entry["group"] != "damaged" or fields or done.returncode == 65, f"the damaged {path} passes")
    return done.returncode


def ingested(scratch, number, entry, fields):
    """Values compared with what h5py reads, where it can."""
    path = ZOO / entry["file"]
    spec = scratch / f"ingest-{number}.yaml"
    plain = [{key: value for key, value in f.items() if key != "member"} | {"path": f"d{i}"} for i, f in enumerate(fields)]
    places = {f"f{i}": {"dataset": f["path"], **({"member": f["member"]} if "member" in f else {})} for i, f in enumerate(fields)}
    spec.write_text("version: 1\nsources:\n  - format: hdf5\n    files: " + json.dumps(str(path)) + "\n    datasets: " + json.dumps(places) +
                    "\ncontract:\n" + "".join("  " + line + "\n" for line in contract(plain).splitlines()))
    out = scratch / f"ingest-{number}"
    done = m.run("ingest", spec, "--out", out, expect=None, timeout=60)
    answered(done, path)
    if done.returncode or not fields or entry["group"] == "damaged":
        return 0
    same = 0
    with h5py.File(out / "part-00000.h5") as made, h5py.File(path) as source:
        for i, field in enumerate(fields):
            # netCDF's and others' own libraries convert on; times and half of the old types h5py has no word for
            if "member" in field or field["dtype"] == "string" or field["type"].startswith(("opaque", "time", "bit", "big-endian bit")):
                continue
            try:
                expected = source[field["path"]][()]
            except (OSError, TypeError, KeyError, ValueError):
                continue
            found = made[f"d{i}"][()]
            m.check(np.array_equal(found, expected.astype(found.dtype), equal_nan=found.dtype.kind == "f"),
                    f"{path}:{field['path']} is not what h5py reads")
            same += 1
    return same


def main():
    if not ZOO.is_dir():
        print("skipped: no MUSTER_DATA/hdf5-zoo")
        sys.exit(77)
    entries = zoo_files()
    answers = inspected(entries)
    names_what_is_missing(entries, answers)
    fields = [usable(answer) for answer in answers]
    with m.Scratch() as scratch, concurrent.futures.ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda i: validated(scratch, i, entries[i], fields[i]), range(len(entries))))
        # Every file in full; else the ones with something to compare or to refuse, every other one of the rest.
        chosen = [i for i in range(len(entries)) if m.FULL or entries[i]["group"] != "layout" or i % 2 == 0]
        same = list(pool.map(lambda i: ingested(scratch, i, entries[i], fields[i]), chosen))
        print(f"validate: {codes.count(0)} of {len(codes)} files pass, {codes.count(65)} refused; ingest: {len(chosen)} files, "
              f"{sum(same)} datasets as h5py reads them")
        m.check(sum(same) > 60, "too few datasets were compared")


if __name__ == "__main__":
    main()
