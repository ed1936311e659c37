#!/usr/bin/env bash
# `muster ingest` of CSV beside pandas and pyarrow with h5py: the same file, columns and types into HDF5, taken in turns in one run.
#
#   bash tests/bench/csv_ingest.sh [--size BYTES] [--rounds N] [--gzip]   default: 1000000000 bytes, 5 rounds
#   bash tests/bench/csv_ingest.sh --alone --size 10000000000             only muster ingest, once: does its memory stay bounded?
#
# pandas (C engine) and pyarrow's read_csv take the whole file into memory; pandas-pieces and pyarrow-stream read it in pieces; -read
# ones write nothing. What they write is compared with what muster writes. Medians of the rounds: rows/s, MB/s of CSV, CPU seconds, peak
# memory, and how many times as long as muster. The file is read once before (page cache warm); muster syncs what it writes to the disk,
# the others do not. --gzip: the file compressed by gzip -6 (MB/s stay those of the text). Beyond 1 GB the rows repeat. Everything lies
# in $BENCH_DIR (default: the system's temporary directory), about three times the size, and goes at the end.
#
# Needs a Python with pandas, pyarrow and h5py: $BENCH_PYTHON, or one is made under build/deps/csv. Leave the machine alone while it
# runs: it uses 2 cores, of any number (taskset).
set -euo pipefail
cd "$(dirname "$0")/../.."
size=1000000000 rounds=5 zip=0 alone=0
while [ $# -gt 0 ]; do
  case $1 in
    --size) size=$2; shift ;;
    --rounds) rounds=$2; shift ;;
    --gzip) zip=1 ;;
    --alone) alone=1 ;;
    *) sed -n '2,5p' "$0" >&2; exit 64 ;;
  esac
  shift
done
muster=$(realpath "${MUSTER:-build/release/bin/muster}")
python=${BENCH_PYTHON:-build/deps/csv/bin/python}
if [ ! -x "$python" ]; then
  python3 -m venv build/deps/csv
  build/deps/csv/bin/pip install --quiet pandas==3.1.1 pyarrow==26.0.1 h5py==3.16.0 numpy==2.4.6
fi
python=$(realpath --no-symlinks "$python")
bench=$PWD/tests/bench/csv_ingest.py
work=$(mktemp -d -p "${BENCH_DIR:-${TMPDIR:-/tmp}}")
trap 'rm -rf "$work"' EXIT
cd "$work"

echo "making a CSV file of $size bytes"
rows=$("$python" "$bench" generate rows.csv "$size")
bytes=$(stat -c %s rows.csv)
file=rows.csv
if [ $zip = 1 ]; then gzip -6 rows.csv; file=rows.csv.gz; fi
cat > spec.yaml <<SPEC
version: 1
sources: [{format: csv, file: $file}]
partitions: 4
contract:
  version: 1
  fields:
    id: {dtype: int64, role: key}
    when: {dtype: int64, role: time}
    price: {dtype: float32}
    ratio: {dtype: float32, missing: indicator}
    lat: {dtype: float32}
    lon: {dtype: float32}
    count: {dtype: int32}
    flag: {dtype: uint8, allowed: [0, 1], role: label}
    station: {dtype: string, length: 8}
    note: {dtype: string, length: 24, missing: indicator}
  splits: {by: fraction, train: 1}
SPEC

measure() { # NAME COMMAND... : appends "seconds cpu-seconds peak-bytes" to NAME.runs
  local name=$1
  shift
  taskset -c 0,1 "$python" "$bench" measure "$@" > log 2>&1 || { cat log; exit 1; }
  tail -n 1 log >> "$name.runs"
}
run() {
  if [ "$1" = muster ]; then
    rm -rf muster.out
    measure muster "$muster" ingest spec.yaml --out muster.out
  else
    rm -f rival.h5
    measure "$1" "$python" "$bench" "$1" "$file" rival.h5
  fi
}
median() { awk -v c="$2" '{ print $c }' "$1.runs" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
report() { # NAME
  awk -v name="$1" -v rows="$rows" -v bytes="$bytes" -v s="$(median "$1" 1)" -v cpu="$(median "$1" 2)" -v peak="$(median "$1" 3)" \
    -v mine="$(median muster 1)" 'BEGIN {
      printf "%-15s %7.2f s  %9.0f rows/s  %6.1f MB/s  CPU %6.2f s  peak %8.1f MB  ratio %.2f\n",
             name, s, rows / s, bytes / s / 1e6, cpu, peak / 1e6, s / mine }'
}

names=(muster pandas pandas-pieces pyarrow pyarrow-stream pandas-read pyarrow-read)
if [ $alone = 1 ]; then names=(muster) rounds=1; else cat "$file" > /dev/null; fi
echo "$rows rows, $bytes bytes, $(nproc) cores, load $(cut -d ' ' -f 1 /proc/loadavg); $rounds rounds"
for round in $(seq "$rounds"); do
  for name in "${names[@]}"; do
    run "$name"
    case $round-$name in
      1-pandas | 1-pandas-pieces | 1-pyarrow | 1-pyarrow-stream) "$python" "$bench" same muster.out rival.h5 ;;
    esac
  done
done
for name in "${names[@]}"; do report "$name"; done
