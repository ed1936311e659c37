#!/usr/bin/env bash
# Muster from a fresh clone to a model that was killed, resumed on other ranks, and verified.
#
#   bash examples/quickstart.sh [--rows N]
#
# 1. sets up what is missing and builds      4. resumes on 3 ranks, evaluates on later months
# 2. generates card transactions, validates  5. trains the same again undisturbed, and a logistic regression
# 3. trains on 2 ranks, kills it mid-epoch   6. compares rows, batches and metrics; fails if one is not as promised
#
# Can be run again: what is there is reused, runs are made anew. Everything stays below this checkout.
set -euo pipefail
cd "$(dirname "$0")/.."

rows=400000
while [ $# -gt 0 ]; do
  case "$1" in
    --rows) rows="$2"; shift 2 ;;
    -h|--help) sed -n '2,10p' "$0"; exit 0 ;;
    *) echo "quickstart: unknown argument $1 (see --help)" >&2; exit 64 ;;
  esac
done
[ "$rows" -ge 300000 ] || { echo "quickstart: --rows $rows: at least 300000, so that the kill falls into the first epochs" >&2; exit 64; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

step() { printf '\n== %s\n' "$*"; }
fail() { printf '\nquickstart: FAILED: %s\n' "$*" >&2; exit 1; }
launch() { local ranks=$1; shift; mpirun -np "$ranks" --oversubscribe --bind-to none "$@"; }
# The number behind a key of a JSON line: number auc '{"auc":0.9}' prints 0.9.
number() { printf '%s' "$2" | grep -o "\"$1\":[-0-9.e+]*" | head -n 1 | cut -d: -f2; }
word() { printf '%s' "$2" | grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d'"' -f4; }
holds() { awk "BEGIN { exit !($1) }"; }

step "1. Set up and build (minutes the first time)"
bash setup.sh --yes
preset=${MUSTER_PRESET:-release}
cmake --preset "$preset" > /dev/null
cmake --build --preset "$preset" --target muster muster-probe
muster=$PWD/build/$preset/bin/muster

step "2. $rows card transactions in 8 partitions"
data=data/card-fraud-$rows
if [ ! -f "$data/manifest.json" ]; then
  rm -rf "$data"
  "$muster" generate card-fraud --rows "$rows" --partitions 8 --seed 1 --codec gzip --out "$data"
fi
"$muster" validate "$data"

config=configs/card-fraud.yaml
runs=runs/quickstart
rm -rf "$runs"
common=(--set data.dataset="$data" --set run.dir="$runs")

step "3. Train on 2 ranks; SIGKILL in mid-epoch"
"$muster" train "$config" "${common[@]}" --dry-run
events=$runs/card-fraud/events.jsonl
last_step() { { grep '"event":"step"' "$events" 2> /dev/null || true; } | tail -n 1 | sed -n 's/.*"step":\([0-9]*\).*/\1/p'; }
launch 2 "$muster" train "$config" "${common[@]}" &
job=$!
while kill -0 "$job" 2> /dev/null; do
  now=$(last_step)
  [ "${now:-0}" -ge 650 ] && break
  sleep 0.05
done
victim=$(grep -o '"pid":[0-9]*' "$runs/card-fraud/run.lock" | cut -d: -f2)
kill -9 "$victim"
killed_at=$(last_step)
code=0
wait "$job" || code=$?
[ "$code" -ne 0 ] || fail "the run ended before it could be killed"
killed_line=$(grep '"event":"step"' "$events" | tail -n 1)
split_rows=$(number rows "$(grep -o '"plan":{[^}]*}' "$events" | head -n 1)")
[ "$(number epoch_rows "$killed_line")" -lt "$split_rows" ] || fail "it was killed at the end of an epoch: run this again"
echo "killed rank 0 (process $victim) with SIGKILL near step $killed_at; mpirun left with $code"

step "4. Resume on 3 ranks, evaluate on the later months"
resumed=$(launch 3 "$muster" train "$config" "${common[@]}" --json | tee >(cat >&2) | tail -n 1)
resumed_at=$(grep '"event":"resumed"' "$events" | sed -n 's/.*"step":\([0-9]*\).*/\1/p')
[ "${resumed_at:-0}" -gt 0 ] || fail "the second start did not resume from a step after the first"
test_line=$("$muster" evaluate "$runs/card-fraud" --split test --json | tail -n 1)

step "5. The same undisturbed, and logistic regression (the mlp without hidden layers)"
undisturbed=$(launch 2 "$muster" train "$config" "${common[@]}" --set run.name=undisturbed --json | tail -n 1)
# A linear model takes (and needs) larger steps: 0.05 is its best of 0.002, 0.01 and 0.05.
launch 2 "$muster" train "$config" "${common[@]}" --set optimizer.learning_rate=0.05 --set run.name=logistic --set 'model.hidden=[]' --set model.dropout=0 --json > /dev/null
linear_line=$("$muster" evaluate "$runs/logistic" --split test --json | tail -n 1)
"$muster" verify "$runs/card-fraud"

step "6. What holds"
auc=$(number auc "$test_line"); ap=$(number average_precision "$test_line")
linear_auc=$(number auc "$linear_line"); linear_ap=$(number average_precision "$linear_line")
printf '%-28s %10s %20s\n' "later months (test split)" AUC "average precision"
printf '%-28s %10.4f %20.4f\n' "mlp, killed and resumed" "$auc" "$ap"
printf '%-28s %10.4f %20.4f\n' "logistic regression" "$linear_auc" "$linear_ap"
holds "$auc >= 0.90" || fail "AUC $auc is below 0.90"
holds "$auc - $linear_auc >= 0.02" || fail "the mlp beats logistic regression by less than 0.02"

echo
# Of each epoch the last event of its last step, in file order: what a resume undid is overwritten by what came after.
grep '"event":"step"' "$events" | sed 's/.*"epoch":\([0-9]*\),"epoch_rows":\([0-9]*\).*/\1 \2/' |
  awk -v all="$split_rows" '{ used[$1] = $2 } END { for (e in used) { printf "epoch %d: %d rows used of %d\n", e + 1, used[e], all
    if (used[e] != all) bad = 1 } exit bad }' | sort || fail "an epoch did not use every row of the split once"

digest=$(word running_digest "$resumed"); reference=$(word running_digest "$undisturbed")
echo
echo "running digest, killed on 2 and resumed on 3 ranks: $digest"
echo "running digest, undisturbed on 2 ranks:             $reference"
[ -n "$digest" ] && [ "$digest" = "$reference" ] || fail "the two runs did not see the same global batches"

cat <<END

All of it holds. Try next:
  $muster explain $runs/card-fraud          # what made these weights
  $muster order $config --set data.dataset=$data --steps 0:1 --world 3   # which rows, computed
  $muster config --explain                 # every key of a configuration
END
