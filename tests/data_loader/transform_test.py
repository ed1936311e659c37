"""Every transform against its definition in numpy.

usage: transform_test.py PROGRAM DEPS. Goes on in the Python that setup.sh --tests makes (DEPS/python) where this one has no numpy; where
that is not there either, exits with 77: skipped.
"""
import collections
import datetime
import json
import math
import os
import subprocess
import sys

try:
    import numpy as np
except ImportError:
    python = os.path.join(sys.argv[2], "python", "bin", "python")
    if sys.executable == python or not os.path.exists(python):
        print("skipped: no Python with numpy (setup.sh --tests installs one)")
        sys.exit(77)
    os.execv(python, [python, "-B", *sys.argv])

program = sys.argv[1]
checks = 0


def run(fields, columns):
    contract = "version: 1\nfields:\n" + fields + "splits: {by: fraction, train: 1}\n"
    plain = {name: [None if isinstance(v, float) and math.isnan(v) else v for v in column]
             for name, column in columns.items()}
    done = subprocess.run([program], input=json.dumps({"contract": contract, "columns": plain}), text=True,
                          capture_output=True, check=True)
    return json.loads(done.stdout)


def one(field, column):
    """The floats of a field x, a row per row of the column."""
    result = run(f"  x: {{{field}}}\n", {"x": column})
    assert "error" not in result, result
    return np.array(result["features"], np.float32).reshape(len(column), -1), result["feature_names"]


def same(what, got, want, tolerance=1e-6):
    global checks
    checks += 1
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, (what, got.shape, want.shape)
    worst = np.max(np.abs(got - want) / (1 + np.abs(want))) if got.size else 0
    assert worst <= tolerance, (what, worst)


def refused(what, fields, columns, words):
    global checks
    checks += 1
    result = run(fields, columns)
    assert words in result.get("error", ""), (what, result)


random = np.random.default_rng(7)
rows = 500
x = random.lognormal(1, 1.5, rows)
holes = x.copy()
holes[random.random(rows) < 0.2] = np.nan
there = holes[~np.isnan(holes)]
lists = {"x": list(map(float, x)), "holes": list(map(float, holes))}

# Numbers.
same("none", one("dtype: float64, transform: none", lists["x"])[0][:, 0], x)
same("standardize", one("dtype: float64", lists["x"])[0][:, 0], (x - x.mean()) / x.std())
same("minmax", one("dtype: float64, transform: minmax", lists["x"])[0][:, 0], (x - x.min()) / (x.max() - x.min()))
same("log1p", one("dtype: float64, transform: log1p", lists["x"])[0][:, 0], np.log1p(x))
logs = np.log1p(x)
same("log1p, standardize", one("dtype: float64, transform: [log1p, standardize]", lists["x"])[0][:, 0],
     (logs - logs.mean()) / logs.std())
same("clip", one("dtype: float64, transform: {clip: {low: 1, high: 5}}", lists["x"])[0][:, 0], np.clip(x, 1, 5))
clipped = np.clip(x, None, 4)
same("clip, minmax", one("dtype: float64, transform: [{clip: {high: 4}}, minmax]", lists["x"])[0][:, 0],
     (clipped - clipped.min()) / (clipped.max() - clipped.min()))
small = random.integers(0, 256, rows)
same("scale", one("dtype: uint8, transform: scale", small.tolist())[0][:, 0], small / 255)

# Missing values: imputed after the maps; with an indicator.
for how, value in {"mean": there.mean(), "mode": None, "median": np.quantile(there, 0.5, method="inverted_cdf"),
                   "{value: 2.5}": 2.5}.items():
    source = np.round(holes) if how == "mode" else holes
    known = source[~np.isnan(source)]
    if how == "mode":
        values, counts = np.unique(known, return_counts=True)
        value = values[counts.argmax()]
    want = np.where(np.isnan(source), value, source)
    column = list(map(float, source))
    got, names = one(f"dtype: float64, transform: none, missing: impute, impute: {how}", column)
    assert names == ["x"], names
    same(f"impute {how}", got[:, 0], want)
    got, names = one(f"dtype: float64, transform: none, missing: indicator, impute: {how}", column)
    assert names == ["x", "x.missing"], names
    same(f"indicator {how}", got, np.stack([want, np.isnan(source)], 1))
    got, _ = one(f"dtype: float64, missing: impute, impute: {how}", column)
    same(f"standardized {how}", got[:, 0], (want - known.mean()) / known.std(), 2e-6)
log_there = np.log1p(there)
got, _ = one("dtype: float64, transform: [log1p, standardize], missing: indicator", lists["holes"])
same("log of missing", got[:, 0],
     np.where(np.isnan(holes), 0, (np.log1p(np.where(np.isnan(holes), 1, holes)) - log_there.mean()) / log_there.std()))
coded = np.where(random.random(rows) < 0.3, -9, random.integers(0, 50, rows))
got, _ = one("dtype: int16, missing: indicator, missing_value: -9, transform: none", coded.tolist())
same("missing_value", got, np.stack([np.where(coded == -9, coded[coded != -9].mean(), coded), coded == -9], 1))

# Arrays.
images = random.integers(0, 256, (rows, 3, 4, 2))
result = run("  x: {dtype: uint8, shape: [3, 4, 2], transform: normalize}\n", {"x": images.reshape(rows, -1).tolist()})
means, deviations = images.mean((0, 2, 3), keepdims=True), images.std((0, 2, 3), keepdims=True)
same("normalize", np.array(result["x"]).reshape(images.shape), (images - means) / deviations)
result = run("  x: {dtype: float32, shape: [3], transform: log1p}\n",
             {"x": [[float(v), 0.0, 1.0] for v in x.astype(np.float32)]})
same("log1p of an array", np.array(result["x"]).reshape(rows, 3)[:, 0], np.log1p(x.astype(np.float32)))

# Dates, in UTC.
times = random.integers(-10**9, 4 * 10**9, rows)
moments = [datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(t)) for t in times]
turns = {"hour": [(m.hour * 3600 + m.minute * 60 + m.second) / 86400 for m in moments],
         "weekday": [m.weekday() / 7 for m in moments], "day": [(m.day - 1) / 31 for m in moments],
         "month": [(m.month - 1) / 12 for m in moments],
         "yearday": [(m.timetuple().tm_yday - 1) / 366 for m in moments]}
got, names = one(f"dtype: int64, transform: {{dates: {{parts: [{', '.join(turns)}]}}}}", times.tolist())
assert names[:2] == ["x.hour.sin", "x.hour.cos"], names
want = [f(2 * np.pi * np.array(turn)) for turn in turns.values() for f in (np.sin, np.cos)]
same("dates", got, np.stack(want, 1), 2e-6)
got, names = one("dtype: int64, transform: dates", times.tolist())
assert len(names) == 6, names


# Ids.
def ids(field, column, size=None):
    result = run(f"  x: {{{field}}}\n", {"x": column})
    assert "error" not in result, result
    assert result["category_names"] == ["x"] and max(result["categories"]) < result["categories.ids"][0]
    return np.array(result["categories"]), result["categories.ids"][0]


def vocabulary(column, least, most=65536):
    counts = collections.Counter(v for v in column if v != "")
    kept = sorted((v for v in counts if counts[v] >= least), key=lambda v: (-counts[v], str(v).encode()))
    return kept[:most]


words = [["", "a", "b", "Ü", "dd", "eee"][i] for i in random.choice(6, rows, p=[.1, .3, .3, .2, .094, .006])]
for least, most in [(1, 65536), (5, 65536), (5, 2)]:
    first = {w: i + 2 for i, w in enumerate(vocabulary(words, least, most))}
    got, size = ids(f"dtype: string, length: 3, missing: indicator, transform: {{category: {{min_count: {least}, max_size: {most}}}}}",
                    words)
    same("category", got, [1 if w == "" else first.get(w, 0) for w in words])
    assert size == len(first) + 2
first = {w: i + 1 for i, w in enumerate(vocabulary(words, 5))}
got, _ = ids("dtype: string, length: 3, missing: impute", words)
same("category, imputed by mode", got, [first.get(w or vocabulary(words, 5)[0], 0) for w in words])
got, _ = ids("dtype: string, length: 3, missing: impute, impute: {value: dd}", words)
same("category, imputed by value", got, [first.get(w or "dd", 0) for w in words])
numbers = random.integers(-3, 4, rows)
first = {w: i + 1 for i, w in enumerate(vocabulary([str(n) for n in numbers], 5))}
for dtype, shift in [("int8", 0), ("int64", 0), ("uint64", 3)]:
    first = {w: i + 1 for i, w in enumerate(vocabulary([str(n + shift) for n in numbers], 5))}
    got, _ = ids(f"dtype: {dtype}, transform: category", (numbers + shift).tolist())
    same(f"category of {dtype}", got, [first.get(str(n + shift), 0) for n in numbers])
many = [i % 5000 for i in range(5000)] + [17, 17, -1]
first = {w: i + 1 for i, w in enumerate(vocabulary([str(n) for n in many if n >= 0], 1))}
got, _ = ids("dtype: int32, missing: impute, impute: mode, missing_value: -1, transform: {category: {min_count: 1}}", many)
same("category of many integers, imputed by mode", got, [first[str(17 if n < 0 else n)] for n in many])
edges = np.unique([np.quantile(x, i / 8, method="inverted_cdf") for i in range(1, 8)])
got, size = ids("dtype: float64, transform: {buckets: {count: 8}}", lists["x"])
same("buckets", got, np.searchsorted(edges, x, side="right"))
assert size == 8
edges = np.unique([np.quantile(there, i / 8, method="inverted_cdf") for i in range(1, 8)])
got, size = ids("dtype: float64, missing: indicator, transform: [log1p, {buckets: {count: 8}}]", lists["holes"])
same("buckets of logarithms", got, np.where(np.isnan(holes), 8, np.searchsorted(edges, holes, side="right")))
assert size == 9

# Tokens: windows are rows of values here, as readers give them.
def tokens(field, column):
    result = run(f"  x: {{{field}}}\n", {"x": column.tolist()})
    assert "error" not in result, result
    assert max(result["x"]) < result["x.ids"][0] and len(result["x.ids"]) == 1, result["x.ids"]
    return np.array(result["x"]).reshape(column.shape), result["x.ids"][0]


for dtype, low, high, options, least, most in [
        ("uint8", 0, 256, "{min_count: 1}", 1, 65536), ("int8", -128, 128, "{min_count: 24}", 24, 65536),
        ("uint16", 65000, 65536, "{max_size: 40}", 1, 40), ("int16", -300, 300, "{}", 1, 65536),
        ("int32", -2**31, -2**31 + 90, "{min_count: 58, max_size: 30}", 58, 30), ("uint64", 2**64 - 50, 2**64, "{}", 1, 65536)]:
    stream = random.integers(low, high, (rows, 10), dtype=dtype)
    first = {w: i + 1 for i, w in enumerate(vocabulary([str(n) for n in stream.flat], least, most))}
    assert 2 < len(first) <= high - low
    got, size = tokens(f"dtype: {dtype}, window: {{length: 9}}, transform: {{tokens: {options}}}", stream)
    same(f"tokens of {dtype}", got, [[first.get(str(n), 0) for n in row] for row in stream])
    assert size == len(first) + 1
    if least > 1 or most < 65536:
        assert (got == 0).any() and (got > 0).any(), "rare tokens share id 0"
# Ids as they are.
for dtype, greatest, options, size in [("uint8", 255, "ids", 256), ("uint16", 50256, "{ids: {size: 50304}}", 50304), ("int32", 9, "ids", 10),
                                       ("uint64", 2**31 - 2, "ids", 2**31 - 1)]:
    stream = random.integers(0, greatest + 1, (rows, 10), dtype=dtype)
    got, have = tokens(f"dtype: {dtype}, range: [0, {greatest}], window: {{length: 9}}, transform: {options}", stream)
    same(f"ids of {dtype}", got, stream)
    assert have == size, (have, size)
got, size = ids("dtype: int16, range: [0, 6], transform: ids", (small % 7).tolist())
same("ids of one number", got, small % 7)
assert size == 7
for value in (-1, 4):  # no contract is checked here
    refused("no id", "  x: {dtype: int16, range: [0, 3], transform: ids}\n", {"x": [0, 3, value]}, f"is {value}, which is none of its 4 ids")
got, _ = tokens("dtype: uint8, shape: [2, 3], transform: tokens", random.integers(0, 9, (rows, 6)))
assert got.min() == 1, "an array that is no window has tokens too"
MASK = 2**64 - 1


def mix(v):
    v = (v + 0x9e3779b97f4a7c15) & MASK
    v = ((v ^ (v >> 30)) * 0xbf58476d1ce4e5b9) & MASK
    v = ((v ^ (v >> 27)) * 0x94d049bb133111eb) & MASK
    return v ^ (v >> 31)


def hashed(text, buckets, seed):
    h = 0xcbf29ce484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001b3) & MASK
    key = mix(mix(seed) ^ 10)
    return mix(key ^ mix((h + 0x632be59bd9b4e019) & MASK)) % buckets


got, size = ids("dtype: string, length: 3, missing: indicator, transform: {hash: {buckets: 7, seed: 3}}", words)
same("hash", got, [hashed(w, 7, 3) if w else 7 for w in words])
got, _ = ids("dtype: int16, transform: {hash: {buckets: 7}}", numbers.tolist())
same("hash of integers", got, [hashed(str(n), 7, 0) for n in numbers])

# A label in its own unit, its scale beside it.
result = run("  x: {dtype: float64}\n  y: {dtype: float32, role: label}\n",
             {"x": lists["x"], "y": [float(v) for v in (3000 + 200 * logs).astype(np.float32)]})
label = (3000 + 200 * logs).astype(np.float32).astype(np.float64)
same("label", result["label"], label)
same("label scale", result["label_scale"], [label.mean(), label.std()])

# What cannot be.
refused("log of -2", "  x: {dtype: float64, transform: log1p}\n", {"x": [1.0, -2.0]}, "'x'")
refused("map after fit", "  x: {dtype: float64, transform: [standardize, log1p]}\n", {"x": [1.0]}, "can only be the last")
refused("category of floats", "  x: {dtype: float64, transform: category}\n", {"x": [1.0]}, "text or integer")
refused("buckets of texts", "  x: {dtype: string, length: 2, transform: buckets}\n", {"x": ["a"]}, "is for numbers")
refused("clip of nothing", "  x: {dtype: float64, transform: clip}\n", {"x": [1.0]}, "needs `low`")
refused("clip the wrong way", "  x: {dtype: float64, transform: {clip: {low: 2, high: 1}}}\n", {"x": [1.0]}, "below")
refused("an unknown option", "  x: {dtype: float64, transform: {clip: {lowest: 2}}}\n", {"x": [1.0]}, "lowest")
refused("an unknown part", "  x: {dtype: int64, transform: {dates: {parts: [hours]}}}\n", {"x": [1]}, "did you mean 'hour'")
refused("mode of many values", "  x: {dtype: float64, missing: impute, impute: mode}\n",
        {"x": [float(i) for i in range(5000)]}, "impute: median")
print(f"{checks} checks")
