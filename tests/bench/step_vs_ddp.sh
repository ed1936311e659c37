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

compare() { # name, steps, Muster's arguments, DDP's arguments
  : > build/bench.muster; : > build/bench.ddp; : > build/bench.alone; : > build/bench.bare
  local muster_arguments ddp_arguments
  read -ra muster_arguments <<< "$3"
  read -ra ddp_arguments <<< "$4"
  for _ in $(seq "$rounds"); do
    line=$(mpirun -np 2 --bind-to none "$muster" bench step --steps "$2" "${muster_arguments[@]}" --json | tail -n 1)
    printf '%s' "$line" | number step_ms >> build/bench.muster
    printf '%s' "$line" | number alone_ms >> build/bench.alone
    printf '%s' "$line" | number bare_ms >> build/bench.bare
    "$python" tests/bench/ddp_step.py --steps "$2" "${ddp_arguments[@]}" | number step_ms >> build/bench.ddp
  done
  parameters=$(printf '%s' "$line" | number parameters)
  awk -v name="$1" -v p="$parameters" -v m="$(median < build/bench.muster)" -v d="$(median < build/bench.ddp)" \
    -v a="$(median < build/bench.alone)" -v b="$(median < build/bench.bare)" 'BEGIN {
      printf "%-10s %9d parameters: muster %.2f ms, DDP %.2f ms (%.2f times as long), without communication %.2f ms, plain LibTorch %.2f ms\n",
        name, p, m, d, d / m, a, b }'
}

compare mlp-large 50 '--shape 1024 --options {"hidden":[2048,2048]}' '--shape 1024 --hidden 2048,2048'
compare mlp-small 500 '--shape 784 --options {"hidden":[200,200]}' '--shape 784 --hidden 200,200'
compare resnet18 20 '--model resnet --shape 3,32,32 --rows 16' '--model resnet --shape 3,32,32 --rows 16'
compare gpt-10M 20 '--model gpt --shape 129 --vocabulary 256 --options {"layers":12,"width":256,"heads":8} --rows 4' \
  '--model gpt --shape 129 --vocabulary 256 --layers 12 --width 256 --heads 8 --rows 4'
