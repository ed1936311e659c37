"""LightGBM on a Muster dataset: its splits (rows.bin), its contract's features. lightgbm_auc.py DATASET METRICS SECONDS, the last two being
Muster's own result, printed beside."""

import json
import pathlib
import struct
import sys
import time

import h5py
import lightgbm
import numpy as np


def read_splits(path):
    """Number of each row's split, and the splits' names: docs/row-index.md."""
    data = path.read_bytes()
    assert data[:8] == b"MUSTROWS"
    count, at, names = struct.unpack_from("<I", data, 12)[0], 16, []
    for _ in range(count):
        length = struct.unpack_from("<I", data, at)[0]
        names.append(data[at + 4:at + 4 + length].decode())
        at += 4 + length
    at += 8
    rows, splits = [], []
    while at < len(data) - 32:
        run = shift = 0
        while True:
            byte = data[at]
            at += 1
            run |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        rows.append(run)
        splits.append(data[at])
        at += 1
    return np.repeat(splits, rows), names


def auc(label, score):
    """With ties as half."""
    order = np.argsort(score, kind="stable")
    _, first, counts = np.unique(score[order], return_index=True, return_counts=True)
    ranks = np.repeat(first + (counts + 1) / 2, counts)
    positive = label[order] == 1
    p, n = positive.sum(), (~positive).sum()
    return (ranks[positive].sum() - p * (p + 1) / 2) / (p * n)


def main(folder, metrics, seconds):
    start = time.monotonic()
    folder = pathlib.Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    result = json.loads(pathlib.Path(metrics).read_text())
    pipeline = json.loads((pathlib.Path(result["checkpoint"]) / "pipeline.json").read_text())
    fields = [entry["field"] for entry in pipeline["inputs"]]
    columns = {}
    for name in fields + [pipeline["label"]["field"]]:
        columns[name] = np.concatenate([h5py.File(folder / part["path"])[name][:] for part in manifest["partitions"]])
    splits, names = read_splits(folder / "rows.bin")
    table, categories = [], []
    for entry in pipeline["inputs"]:
        column = columns[entry["field"]]
        kinds = [step["name"] for step in entry["transforms"]]
        if column.dtype.kind == "S" or "category" in kinds or "hash" in kinds:
            column = np.unique(column, return_inverse=True)[1]
            categories.append(len(table))
        elif "dates" in kinds:  # the same parts of the UTC date as numbers
            column = column.astype(np.int64)
            table += [column % 86400, (column // 86400 + 3) % 7]
            continue
        else:
            column = column.astype(np.float64)
            if "missing_value" in entry:
                column[column == entry["missing_value"]] = np.nan
        table.append(column)
    x = np.stack(table, 1)
    y = columns[pipeline["label"]["field"]]
    part = {name: splits == i for i, name in enumerate(names)}
    model = lightgbm.train({"objective": "binary", "metric": "auc", "learning_rate": 0.05, "num_leaves": 31, "verbose": -1, "num_threads": 2,
                            "seed": 1},
                           lightgbm.Dataset(x[part["train"]], y[part["train"]], categorical_feature=categories), 1000,
                           valid_sets=[lightgbm.Dataset(x[part["validation"]], y[part["validation"]], categorical_feature=categories)],
                           callbacks=[lightgbm.early_stopping(50, verbose=False)])
    took = time.monotonic() - start
    score = auc(y[part["test"]], model.predict(x[part["test"]]))
    print(f"{folder.name:16} test AUC: muster {result['metrics']['auc']:.4f} in {float(seconds):.1f} s, LightGBM {score:.4f} in {took:.1f} s "
          f"({model.best_iteration} trees, {len(fields)} fields)")


main(*sys.argv[1:])
