#!/usr/bin/env bash
# Makes data/card-fraud/: card payments over nine months in 8 partitions. ROWS (300000) and SEED (1) may be set.
set -euo pipefail
cd "$(dirname "$0")/../.."

muster=${MUSTER:-}
for built in build/release/bin/muster build/dev/bin/muster; do
  if [ -z "$muster" ] && [ -x "$built" ]; then muster=$built; fi
done
if [ -z "$muster" ]; then
  echo "prepare.sh: there is no muster program: build it (bash setup.sh), or set MUSTER=/path/to/muster" >&2
  exit 1
fi

if [ -f data/card-fraud/manifest.json ]; then
  echo "data/card-fraud is there already; remove it to make it anew"
  exit 0
fi
if [ ! -f data/card-fraud/contract.yaml ]; then
  "$muster" generate card-fraud --rows "${ROWS:-300000}" --partitions 8 --seed "${SEED:-1}" --out data/card-fraud
fi
"$muster" validate data/card-fraud
