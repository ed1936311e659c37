#!/usr/bin/env bash
# Every check Muster has, from a fresh clone: sets up, builds, tests; ends with ctest's summary of the main tests.
#   bash tests/run.sh          minutes: small fixed seed sets
#   bash tests/run.sh --full   about an hour and a half: full sizes, sanitizers over torch too, the analyzer, longer fuzzing
# (What the sanitizers watch is the code, not the number of random cases: they run the small sizes.)
# Reuses what is there. With CI=true, or when the disk is short, each build tree goes as soon as it has been used.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

full=0
for argument in "$@"; do
  case $argument in
    --full) full=1 ;;
    *) echo "usage: bash tests/run.sh [--full]" >&2; exit 64 ;;
  esac
done
readonly kJobs=${MUSTER_JOBS:-$(nproc)}
export CMAKE_BUILD_PARALLEL_LEVEL=$kJobs CTEST_PARALLEL_LEVEL=$kJobs
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
if command -v ccache >/dev/null; then
  export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_SLOPPINESS=pch_defines,time_macros
fi

failed=()
stage() { # stage NAME COMMAND...
  local name=$1 start=$SECONDS
  shift
  echo "== $name"
  if "$@"; then
    echo "== $name: ok, $((SECONDS - start)) s"
  else
    echo "== $name: FAILED, $((SECONDS - start)) s"
    failed+=("$name")
    return 1
  fi
}

finish() {
  [ ${#failed[@]} = 0 ] && return 0
  echo "tests/run.sh: FAILED: ${failed[*]}"
  exit 1
}

drop_tree() { # a build tree that has been used
  local free_mb
  free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
  if [ "${CI:-}" = true ] || [ "$free_mb" -lt 8000 ]; then rm -rf "build/$1"; fi
}

sources() { git ls-files --cached --others --exclude-standard -- '*.h' '*.cpp' '*.cc' '*.cu' | sort -u; }

check_format() {
  sources | xargs clang-format-14 --dry-run -Werror
}

check_layers() {
  python3 tests/layers/check_layers.py .
}

build() { # build PRESET [CMAKE ARGUMENTS...]
  local log=build/$1.configure.log
  mkdir -p build
  cmake --preset "$@" >"$log" 2>&1 || { cat "$log"; return 1; }
  cmake --build --preset "$1" 2>&1 | grep -vE '^\[[0-9]+/[0-9]+\] (Building|Linking|Generating)'
  return "${PIPESTATUS[0]}"
}

# With --full only: tests, files that compute tensors (half a minute each), and the analyzer over what is no test.
check_tidy() {
  local log=build/tidy.configure.log
  cmake --preset tidy -DMUSTER_BUILD_TESTS=$full >"$log" 2>&1 || { cat "$log"; return 1; }
  python3 - $full <<'PYTHON' | xargs -P "$kJobs" -n 2 build/deps/python/bin/clang-tidy -p build/tidy --quiet 2>build/tidy.log
import json, os, sys
full = sys.argv[1] == "1"
files = {}
for entry in json.load(open("build/tidy/compile_commands.json")):
    test = "/tests/" in entry["file"]
    generated = entry["file"].startswith(os.getcwd() + "/build/")
    if not generated and (full or not (test or "_torch.dir" in entry["command"])):
        files[entry["file"]] = "" if full and not test else "-"
for file, analyzer in sorted(files.items(), reverse=True):
    print(f"--checks={analyzer}clang-analyzer-*", file)
PYTHON
  local result=$?
  [ $result = 0 ] || grep -vE '^([0-9]+ warnings|Suppressed|Use -header)' build/tidy.log | head -n 20
  return $result
}

test_preset() { # test_preset PRESET [CMAKE ARGUMENTS...]
  build "$@" && ctest --preset "$1" --progress
  local result=$?
  drop_tree "$1"
  return $result
}

# What runs in several threads, without torch.
readonly kThreaded=(batch_stream_test block_reader_test ingest_test validate_test communicator_test rank_watch_test events_test
                      checkpoint_round_test shared_sum_test bucket_sums_test row_sums_test trace_test)
test_threads() {
  cmake --preset tsan >build/tsan.configure.log 2>&1 || { cat build/tsan.configure.log; return 1; }
  cmake --build --preset tsan --target "${kThreaded[@]}" muster-probe |
    grep -vE '^\[[0-9]+/[0-9]+\] (Building|Linking|Generating)'
  [ "${PIPESTATUS[0]}" = 0 ] && ctest --preset tsan --progress -R "^($(IFS='|'; echo "${kThreaded[*]}"))$"
  local result=$?
  drop_tree tsan
  return $result
}

echo "tests/run.sh: format, layers, tidy, sanitizers, fuzzers, unit, MPI and integration tests; $kJobs cores," \
  "$([ $full = 1 ] && echo 'full sizes' || echo 'small sizes (--full for all)')"
stage setup ./setup.sh --tests --yes || finish
stage format check_format
stage layers check_layers
# libmuster_cuda must be built, but for who brings a LibTorch that may have no CUDA.
stage build build dev -DMUSTER_WITH_CUDA="$([ -n "${Torch_ROOT:-}" ] && echo AUTO || echo ON)" || finish
stage tidy check_tidy
drop_tree tidy
stage thread-sanitizer test_threads
stage address-sanitizer-fuzzers test_preset asan-ubsan -DMUSTER_FUZZ_SECONDS="$([ $full = 1 ] && echo 60 || echo 0)"
[ $full = 0 ] || stage address-sanitizer-torch test_preset asan-ubsan-torch
echo "== tests"
MUSTER_TEST_FULL=$full ctest --preset dev || failed+=(tests)
finish
