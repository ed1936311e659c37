#!/usr/bin/env bash
# `muster bench step` beside PyTorch DDP (gloo): the same model, batch and threads, taken in turns in one run, as a ratio.
#
#   bash tests/bench/step_vs_ddp.sh [ROUNDS]
#
# Needs a Python with the full torch wheel (about 3 GB): $DDP_PYTHON, or one is made under build/deps/ddp. Leave the machine alone
# while it runs: it uses 2 cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
rounds=${1:-5}
muster=${MUSTER:-build/release/bin/muster}
python=${DDP_PYTHON:-build/deps/ddp/bin/python}
if [ ! -x "$python" ]; then
  python3 -m venv build/deps/ddp
  build/deps/ddp/bin/pip install --quiet torch==2.11.0 numpy
fi

median() { sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }
number() { grep -o "\"$1\": *[-0-9.e+]*" | head -n 1 | sed 's/.*: *//'; }

compare() { # name, inputs, hidden layers, rows per rank, steps
  : > build/bench.muster; : > build/bench.ddp; : > build/bench.alone
  for _ in $(seq "$rounds"); do
    line=$(mpirun -np 2 --bind-to none "$muster" bench step --inputs "$2" --hidden "$3" --rows "$4" --steps "$5" --json | tail -n 1)
    printf '%s' "$line" | number step_ms >> build/bench.muster
    printf '%s' "$line" | number alone_ms >> build/bench.alone
    "$python" tests/bench/ddp_step.py --inputs "$2" --hidden "$3" --rows "$4" --steps "$5" | number step_ms >> build/bench.ddp
  done
  parameters=$(printf '%s' "$line" | number parameters)
  awk -v name="$1" -v p="$parameters" -v m="$(median < build/bench.muster)" -v d="$(median < build/bench.ddp)" \
    -v a="$(median < build/bench.alone)" 'BEGIN {
      printf "%-6s %9d parameters: muster %.2f ms, DDP %.2f ms (ratio %.2f), without communication %.2f ms\n", name, p, m, d, m / d, a }'
}

compare large 1024 2048,2048 64 50
compare small 784 200,200 64 500
