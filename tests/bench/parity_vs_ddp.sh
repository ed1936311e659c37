#!/usr/bin/env bash
# The losses of Muster beside those of PyTorch DDP (gloo): 2 ranks each, from the same weights (`muster export` of step 0) over the same
# batches (`muster order`), the same optimizer and schedule, for an mlp and a gpt. Ends with an error unless the relative difference is at
# most 1e-4 in each of the first 20 steps, and 2 % at step 200 (mean of 20).
#
#   bash tests/bench/parity_vs_ddp.sh [--keep]      --keep: writes PyTorch's losses, that integration.parity compares with
#
# Needs a Python with the full torch wheel (about 3 GB): $DDP_PYTHON, or one is made under build/deps/ddp.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${DDP_PYTHON:-build/deps/ddp/bin/python}
if [ ! -x "$python" ]; then
  python3 -m venv build/deps/ddp
  build/deps/ddp/bin/pip install --quiet torch==2.11.0 numpy
fi
"$python" -c 'import h5py, safetensors' 2> /dev/null || "$python" -m pip install --quiet h5py safetensors
MUSTER=$(realpath "${MUSTER:-build/release/bin/muster}") MUSTER_SOURCE=$PWD OMP_NUM_THREADS=1
export MUSTER MUSTER_SOURCE OMP_NUM_THREADS
exec "$python" -B tests/bench/parity_vs_ddp.py "$@"
