"""The rivals of `muster ingest` on CSV, and the file that all of them read. See csv_ingest.sh.

    csv_ingest.py generate FILE BYTES     the same rows every time
    csv_ingest.py READER FILE OUT.h5      reads all, writes the ten columns as HDF5, prints rows
    csv_ingest.py same DATASET OUT.h5     whether both hold the same rows
    csv_ingest.py measure COMMAND...      runs it; prints its wall seconds, CPU seconds and peak memory in bytes as the last line
"""

import os
import pathlib
import resource
import sys
import time

TEXTS = {"station": 8, "note": 24}
FLOATS = ["price", "ratio", "lat", "lon"]
INTEGERS = {"count": "int32", "flag": "uint8"}
COLUMNS = ["id", "when", *FLOATS, *INTEGERS, *TEXTS]
BLOCK = 1 << 20  # rows that are made, and read in pieces, at once


def make_rows(path, size):
    """Writes a header and rows until the file has the size; the number of rows, and of bytes of the header."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    random = np.random.default_rng(1)
    stations = np.array([f"ST{i:03}" for i in range(400)])
    notes = np.array(["ok", "late", "", "delayed, no reason", 'said "no"', "moved", "x y z", "first time here"])
    rows = 0
    with open(path, "wb") as file:
        written = header = file.write(b"id,when,price,ratio,lat,lon,count,flag,station,note\n")
        while written < size:
            n = BLOCK if size - written > (100 << 20) else BLOCK // 16
            note = pa.array(notes[random.integers(0, len(notes), n)])
            quoted = pc.binary_join_element_wise('"', pc.replace_substring(note, '"', '""'), '"', "")
            note = pc.if_else(pc.match_substring_regex(note, '[,"]'), quoted, note)
            ratio = pa.array(np.round(random.random(n), 6), mask=random.random(n) < 0.05).cast(pa.string()).fill_null("")
            when = pa.array(1_700_000_000 + (rows + np.arange(n)) // 3).cast(pa.timestamp("s")).cast(pa.string())
            columns = [
                pa.array(np.arange(rows, rows + n)).cast(pa.string()),
                pc.replace_substring(when, " ", "T"),
                pa.array(np.round(random.lognormal(3, 1, n), 2)).cast(pa.string()),
                ratio,
                pa.array(np.round(random.uniform(-90, 90, n), 5)).cast(pa.string()),
                pa.array(np.round(random.uniform(-180, 180, n), 5)).cast(pa.string()),
                pa.array(random.integers(0, 5000, n)).cast(pa.string()),
                pa.array(random.integers(0, 2, n)).cast(pa.string()),
                pa.array(stations[random.integers(0, len(stations), n)]),
                note,
            ]
            lines = pc.binary_join_element_wise(pc.binary_join_element_wise(*columns, ","), "", "\n")
            written += file.write(lines.buffers()[2])
            rows += n
    return rows, header


def generate(path, size):
    """Beyond 1 GB the rows of the first one come again."""
    rows, header = make_rows(path, min(size, 10**9))
    body = os.path.getsize(path) - header
    copies = max(1, -(-(size - header) // body))
    with open(path, "r+b") as file:
        file.seek(0, os.SEEK_END)
        for _ in range(copies - 1):
            at = header
            while at < header + body:
                at += os.sendfile(file.fileno(), file.fileno(), at, header + body - at)
    print(copies * rows)


class Writer:
    """Columns of HDF5 that grow, as a reader in pieces needs them; or, with the number of rows known, ones of fixed size."""

    def __init__(self, path, rows=None):
        import h5py

        self.file = h5py.File(path, "w")
        self.rows = rows
        self.done = 0

    def add(self, columns):
        count = len(columns["id"])
        for name, values in columns.items():
            if self.rows == count:
                self.file.create_dataset(name, data=values)
                continue
            if name not in self.file:
                self.file.create_dataset(name, shape=(0,), maxshape=(None,), chunks=(65536,), dtype=values.dtype)
            self.file[name].resize(self.done + count, axis=0)
            self.file[name][self.done:] = values
        self.done += count

    def close(self):
        self.file.close()
        print(self.done)


def from_pandas(frame):
    import numpy as np

    columns = {"id": frame["id"].to_numpy(), "when": frame["when"].astype("datetime64[s]").astype("int64").to_numpy()}
    for name in FLOATS:
        columns[name] = frame[name].to_numpy(dtype=np.float32)
    for name, kind in INTEGERS.items():
        columns[name] = frame[name].to_numpy(dtype=kind)
    for name, length in TEXTS.items():
        columns[name] = frame[name].fillna("").to_numpy().astype(f"S{length}")
    return columns


def from_arrow(table):
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    def one(name):
        column = table.column(name)
        return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column

    columns = {"id": one("id").to_numpy(), "when": one("when").cast(pa.int64()).to_numpy()}
    for name in FLOATS:
        columns[name] = one(name).to_numpy(zero_copy_only=False)
    for name in INTEGERS:
        columns[name] = one(name).to_numpy(zero_copy_only=False)
    for name, length in TEXTS.items():  # padded they are one buffer: no Python object per value
        padded = pc.utf8_rpad(one(name).fill_null("").cast(pa.large_string()), width=length, padding="\0")
        start = padded.offset * length
        columns[name] = np.frombuffer(padded.buffers()[2], dtype=f"S{length}")[padded.offset:padded.offset + len(padded)]
        assert start % length == 0
    return columns


PANDAS = dict(parse_dates=["when"], dtype={name: "float32" for name in FLOATS} | INTEGERS)


def pandas_whole(path, out):
    import pandas

    frame = pandas.read_csv(path, **PANDAS)
    writer = Writer(out, len(frame))
    writer.add(from_pandas(frame))
    writer.close()


def pandas_pieces(path, out):
    import pandas

    writer = Writer(out)
    for frame in pandas.read_csv(path, chunksize=BLOCK // 4, **PANDAS):
        writer.add(from_pandas(frame))
    writer.close()


def arrow_options():
    import pyarrow as pa
    from pyarrow import csv

    types = {name: pa.float32() for name in FLOATS} | {"count": pa.int32(), "flag": pa.uint8(), "id": pa.int64(),
                                                       "when": pa.timestamp("s"), "station": pa.string(), "note": pa.string()}
    return dict(convert_options=csv.ConvertOptions(column_types=types))


def arrow_whole(path, out):
    from pyarrow import csv

    table = csv.read_csv(path, **arrow_options())
    writer = Writer(out, len(table))
    writer.add(from_arrow(table))
    writer.close()


def arrow_stream(path, out):
    from pyarrow import csv

    writer = Writer(out)
    for batch in csv.open_csv(path, read_options=csv.ReadOptions(block_size=8 << 20), **arrow_options()):
        writer.add(from_arrow(batch))
    writer.close()


def arrow_read(path, out):
    """Into memory only: nothing is written."""
    from pyarrow import csv

    print(len(csv.read_csv(path, **arrow_options())))


def pandas_read(path, out):
    import pandas

    print(len(pandas.read_csv(path, **PANDAS)))


READERS = {"pandas": pandas_whole, "pandas-pieces": pandas_pieces, "pyarrow": arrow_whole, "pyarrow-stream": arrow_stream,
           "pandas-read": pandas_read, "pyarrow-read": arrow_read}


def same(dataset, out):
    import h5py
    import numpy as np

    parts = [h5py.File(path) for path in sorted(pathlib.Path(dataset).glob("part-*.h5"))]
    rival = h5py.File(out)
    for name in COLUMNS:
        mine = np.concatenate([part[name][:] for part in parts])
        if name in FLOATS:
            fine = np.array_equal(mine, rival[name][:], equal_nan=True)
        else:
            fine = np.array_equal(mine, rival[name][:])
        if not fine:
            sys.exit(f"{dataset} and {out} differ in '{name}'")


def measure(command):
    start = time.monotonic()
    code = os.spawnvp(os.P_WAIT, command[0], command)
    seconds = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{seconds:.3f} {used.ru_utime + used.ru_stime:.3f} {used.ru_maxrss * 1024}", flush=True)
    sys.exit(code)


def main(what, *arguments):
    if what == "generate":
        generate(arguments[0], int(arguments[1]))
    elif what == "same":
        same(*arguments)
    elif what == "measure":
        measure(list(arguments))
    else:
        READERS[what](*arguments)


main(*sys.argv[1:])
