#!/usr/bin/env bash
# The tabular model beside LightGBM on the same splits and features of telco-churn, flights, bank-marketing and card-fraud: AUC on the test
# split, and seconds for training with reading and evaluating.
#
#   bash tests/bench/tabular_vs_lightgbm.sh [DATASET]…
#
# Needs a Python with lightgbm, h5py and numpy: $BENCH_PYTHON, or one is made under build/deps/lightgbm; and the data of the examples
# (their prepare.sh is run). Leave the machine alone while it runs: it uses 2 cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export MUSTER=${MUSTER:-$PWD/build/release/bin/muster}
python=${BENCH_PYTHON:-build/deps/lightgbm/bin/python}
if [ ! -x "$python" ]; then
  python3 -m venv build/deps/lightgbm
  build/deps/lightgbm/bin/pip install --quiet lightgbm h5py numpy
fi

[ $# -gt 0 ] || set -- telco-churn flights bank-marketing card-fraud
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
for name in "$@"; do
  [ -f "data/$name/manifest.json" ] || bash "examples/$name/prepare.sh" >/dev/null
  config=configs/$name-tabular.yaml  # where the example's own model is another one
  [ -f "$config" ] || config=configs/$name.yaml
  start=$(date +%s.%N)
  mpirun -np 2 --bind-to none "$MUSTER" train "$config" --set "run.dir=$runs" --set "run.name=$name" \
    >"$runs/log" 2>&1 || { tail -n 5 "$runs/log"; exit 1; }
  seconds=$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
  "$MUSTER" evaluate "$runs/$name" --split test --json 2>/dev/null | tail -n 1 > "$runs/metrics.json"
  "$python" tests/bench/lightgbm_auc.py "data/$name" "$runs/metrics.json" "$seconds"
done
