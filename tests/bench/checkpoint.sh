#!/usr/bin/env bash
# What a checkpoint costs: `muster bench checkpoint` beside dd, torch.save and torch.distributed.checkpoint (async too) on a state of the
# same size on the same disk, taken in turns in one run; then what checkpoints of real trainings, of 1 rank and of 2, cost the steps in which
# they are written, beside the other steps of the same run.
#
#   bash tests/bench/checkpoint.sh [--bytes BYTES] [--rounds N] [--runs N] [--steps N]   default: 419430400 bytes, 7 rounds,
#                                                                              2 trainings of 400 steps
#
# Everything lies in $BENCH_DIR (default: the current directory), whose disk is measured, and goes at the end. Needs a Python with the full
# torch wheel (about 3 GB): $DDP_PYTHON, or one is made under build/deps/ddp. Leave the machine alone while it runs: it uses 2 cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
bytes=419430400 rounds=7 runs=2 steps=400
while [ $# -gt 0 ]; do
  case $1 in
    --bytes) bytes=$2; shift ;;
    --rounds) rounds=$2; shift ;;
    --runs) runs=$2; shift ;;
    --steps) steps=$2; shift ;;
    *) sed -n '2,7p' "$0" >&2; exit 64 ;;
  esac
  shift
done
muster=$(realpath "${MUSTER:-build/release/bin/muster}")
python=${DDP_PYTHON:-build/deps/ddp/bin/python}
if [ ! -x "$python" ]; then
  python3 -m venv build/deps/ddp
  build/deps/ddp/bin/pip install --quiet torch==2.11.0 numpy
fi
work=$(mktemp -d -p "${BENCH_DIR:-.}" .muster-bench-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM
[ "$rounds" = 0 ] || "$python" tests/bench/checkpoint.py table "$muster" "$bytes" "$work" "$rounds"
[ "$runs" = 0 ] || "$python" tests/bench/checkpoint.py stall "$muster" "$work" "$runs" "$steps"
