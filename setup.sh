#!/usr/bin/env bash
# Gets what Muster is built with: Debian or Ubuntu packages, and LibTorch under build/deps. Can be run again at any
# time: it looks first, says what is missing and what it costs, and does only that.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'TEXT'
usage: ./setup.sh [--check] [--yes] [--tests] [--cuda]
  --check   only look and say what is missing (exit 1 if something is)
  --yes     do not ask before starting
  --tests   also what bash tests/run.sh needs: clang-format, clang-tidy, GoogleTest, Python packages, and what --cuda gets
  --cuda    also NCCL and NVRTC (280 MB), with which libmuster_cuda is built: no GPU is needed for that

Your own libraries are left in place and used: Torch_ROOT=<folder with include/ and lib/>, MPI_HOME=..., HDF5_ROOT=...
Environment: MUSTER_KEEP_WHEELS=1 keeps the downloaded wheels in build/deps/wheels.
TEXT
}

readonly kDeps=build/deps
readonly kTorch=$kDeps/libtorch
readonly kWheels=cmake/libtorch-wheels.txt
readonly kCudaWheels=cmake/cuda-wheels.txt
# All they need is listed: of TensorBoard only its readers are used, which do without its server and grpc (70 MB).
readonly kTestPackages=(safetensors==0.8.0 numpy==2.4.6 h5py==3.16.0 clang-tidy==23.1.4 tensorboard==2.21.0 protobuf==7.36.2 absl-py==2.5.1)

check_only=0 assume_yes=0 with_tests=0 with_cuda=0
for argument in "$@"; do
  case $argument in
    --check) check_only=1 ;;
    --yes) assume_yes=1 ;;
    --tests) with_tests=1 with_cuda=1 ;;
    --cuda) with_cuda=1 ;;
    --help | -h) usage; exit 0 ;;
    *) echo "setup.sh: unknown argument '$argument'" >&2; usage >&2; exit 64 ;;
  esac
done

problems=0
line() { printf '%-9s %-8s %s\n' "$1" "$2" "$3"; }
problem() { line "$1" MISSING "$2"; problems=$((problems + 1)); }
stop() { echo "setup.sh: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; } # at_least VERSION MINIMUM

# ---- what there is ----------------------------------------------------------------------------------------------

has_packages=0
check_system() {
  local name=unknown
  [ -r /etc/os-release ] && name=$(. /etc/os-release && echo "${PRETTY_NAME:-unknown}")
  if have apt-get && have dpkg-query; then
    has_packages=1
    line system ok "$name, $(uname -m)"
  else
    line system other "$name: not Debian or Ubuntu, packages are yours to install (docs: CONTRIBUTING.md)"
  fi
  if [ "$(uname -sm)" != "Linux x86_64" ] && [ -z "${Torch_ROOT:-}" ]; then
    stop "the pinned LibTorch is for Linux x86_64; on this machine give your own with Torch_ROOT=<folder>"
  fi
}

build_packages() {
  echo g++ cmake ninja-build git ca-certificates curl openssh-client
  [ -n "${MPI_HOME:-}" ] || echo libopenmpi-dev openmpi-bin
  [ -n "${HDF5_ROOT:-}" ] || echo libhdf5-dev
  echo libyaml-cpp-dev nlohmann-json3-dev libcli11-dev libspdlog-dev libfmt-dev libssl-dev zlib1g-dev libxxhash-dev
  torch_ready || echo python3-venv
}

test_packages() {
  echo libgtest-dev libgmock-dev libbenchmark-dev hdf5-tools python3-venv clang-14 clang-format-14 libclang-rt-14-dev
}

missing_packages=()
check_packages() {
  [ $has_packages = 1 ] || return 0
  local wanted package
  wanted=$(build_packages)
  [ $with_tests = 0 ] || wanted+=" $(test_packages)"
  for package in $wanted; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing_packages+=("$package")
  done
  if [ ${#missing_packages[@]} = 0 ]; then
    line packages ok "all installed"
  else
    problem packages "${missing_packages[*]}"
  fi
}

is_missing() { [[ " ${missing_packages[*]-} " == *" $1 "* ]]; }

check_tools() {
  if have g++ || [ -n "${CXX:-}" ]; then
    local version
    version=$("${CXX:-g++}" -dumpfullversion -dumpversion 2>/dev/null || echo 0)
    if "${CXX:-g++}" --version | grep -qi clang || at_least "$version" 12; then
      line compiler ok "${CXX:-g++} $version"
    else
      stop "${CXX:-g++} is version $version; GCC 12 or newer is needed (apt-get install g++-12, then CXX=g++-12)"
    fi
  elif ! is_missing g++; then
    problem compiler "no g++ found; GCC 12 or newer is needed"
  fi
  if have cmake; then
    local cmake_version
    cmake_version=$(cmake --version | head -n 1 | grep -oE '[0-9]+(\.[0-9]+)+')
    at_least "$cmake_version" 3.24 || stop "cmake is version $cmake_version; 3.24 or newer is needed"
    line cmake ok "$cmake_version"
  elif ! is_missing cmake; then
    problem cmake "not found; 3.24 or newer is needed"
  fi
}

own_torch() {
  local root=${Torch_ROOT:-}
  [ -n "$root" ] && [ -e "$root/lib/libtorch_cpu.so" ] && [ -e "$root/include/torch/csrc/api/include/torch/torch.h" ]
}

# The stamp is written last. Without one, a LibTorch put there by hand counts when its version and its files are right.
torch_ready() {
  own_torch && return 0
  [ -z "${Torch_ROOT:-}" ] || return 1
  local version
  version=$(sed -n 's/^torch==\([^ ]*\).*/\1/p' $kWheels)
  [ -e $kTorch/torch/include/torch/csrc/api/include/torch/torch.h ] || return 1
  if [ -e $kTorch/.complete ]; then
    cmp -s $kTorch/.complete $kWheels
    return
  fi
  [ -d "$kTorch/torch-$version.dist-info" ] && [ -e $kTorch/torch/lib/libtorch_cpu.so ] &&
    [ -e $kTorch/torch/lib/libc10.so ] && compgen -G "$kTorch/nvidia/*/lib/libcudart.so.13" >/dev/null &&
    compgen -G "$kTorch/nvidia/*/lib/libcupti.so.13" >/dev/null
}

need_torch=0
check_torch() {
  if own_torch; then
    line libtorch ok "yours, $Torch_ROOT"
  elif [ -n "${Torch_ROOT:-}" ]; then
    stop "Torch_ROOT=$Torch_ROOT has no lib/libtorch_cpu.so and include/torch/csrc/api/include/torch/torch.h"
  elif torch_ready; then
    line libtorch ok "$kTorch"
  else
    need_torch=1
    problem libtorch "$(sed -n 's/^torch==\([^ ]*\).*/\1/p' $kWheels), goes to $kTorch"
  fi
}

need_cuda=0
check_cuda() {
  [ $with_cuda = 1 ] || return 0
  if own_torch; then
    line cuda later "NCCL and NVRTC: beside your LibTorch, or NCCL_ROOT and CUDAToolkit_ROOT, when CMake looks for them"
  elif [ $need_torch = 0 ] && cmp -s $kTorch/.cuda-complete $kCudaWheels; then
    line cuda ok "NCCL and NVRTC, $kTorch/nvidia"
  else
    need_cuda=1
    problem cuda "$(sed -n 's/^nvidia-\([^ ]*\)==\([^ ]*\).*/\1 \2/p' $kCudaWheels | paste -sd, | sed 's/,/, /'), goes to $kTorch"
  fi
}

need_python=0
check_python() {
  [ $with_tests = 1 ] || return 0
  if [ "$(cat $kDeps/python/.complete 2>/dev/null)" = "${kTestPackages[*]}" ]; then
    line python ok "$kDeps/python (${kTestPackages[*]})"
  else
    need_python=1
    problem python "${kTestPackages[*]}, go to $kDeps/python"
  fi
}

download_mb=0 disk_mb=0 minutes=0
estimate() {
  if [ ${#missing_packages[@]} -gt 0 ]; then # estimated for an empty Debian 12
    if is_missing g++ || is_missing libopenmpi-dev; then download_mb=200 disk_mb=800 minutes=3; fi
    if is_missing clang-14; then
      download_mb=$((download_mb + 130)) disk_mb=$((disk_mb + 700)) minutes=$((minutes + 2))
    fi
    [ $download_mb -gt 0 ] || { download_mb=30 disk_mb=150 minutes=1; }
  fi
  if [ $need_torch = 1 ]; then download_mb=$((download_mb + 550)) disk_mb=$((disk_mb + 2000)) minutes=$((minutes + 3)); fi
  if [ $need_cuda = 1 ]; then download_mb=$((download_mb + 280)) disk_mb=$((disk_mb + 630)) minutes=$((minutes + 1)); fi
  if [ $need_python = 1 ]; then download_mb=$((download_mb + 75)) disk_mb=$((disk_mb + 270)) minutes=$((minutes + 1)); fi
}

check_disk() {
  local free_mb
  free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
  if [ "$free_mb" -lt $((disk_mb + 500)) ]; then
    stop "$free_mb MB free on $(df -P . | awk 'NR == 2 { print $6 }'); this needs $((disk_mb + 500)) MB"
  fi
  line disk ok "$free_mb MB free"
}

run_as_root=()
check_rights() {
  [ ${#missing_packages[@]} -gt 0 ] || { line rights ok "no root needed"; return 0; }
  if [ "$(id -u)" = 0 ]; then
    line rights ok "root, packages can be installed"
  elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    run_as_root=(sudo)
    line rights ok "packages are installed with sudo"
  else
    line rights MISSING "neither root nor sudo: ask your administrator for
  apt-get install --no-install-recommends ${missing_packages[*]}"
    [ $check_only = 1 ] || exit 1
  fi
}

as_root() { "${run_as_root[@]}" env DEBIAN_FRONTEND=noninteractive "$@"; }

# Asks what will be asked later anyway: the packages' lists, or pip's registry.
check_network() {
  if [ ${#missing_packages[@]} = 0 ] && [ $need_torch = 0 ] && [ $need_cuda = 0 ] && [ $need_python = 0 ]; then
    line network ok "not needed"
  elif [ ${#missing_packages[@]} -gt 0 ] && [ "$(id -u)" = 0 ]; then
    as_root apt-get update -qq >/dev/null || stop "apt-get update fails: is there a network, and a proxy to set?"
    line network ok "the package registry answers"
  elif python3 -m pip --version >/dev/null 2>&1; then
    python3 -m pip download --quiet --no-deps --dest "$(mktemp -d)" wheel >/dev/null 2>&1 ||
      stop "pip cannot reach its registry: is there a network, and a proxy to set?"
    line network ok "pip's registry answers"
  else
    line network later "checked when the packages are there"
  fi
}

# ---- what is missing --------------------------------------------------------------------------------------------

install_packages() {
  [ ${#missing_packages[@]} -gt 0 ] || return 0
  echo "-- packages: ${missing_packages[*]}"
  [ "$(id -u)" = 0 ] || as_root apt-get update -qq
  as_root apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" >/dev/null ||
    stop "apt-get install failed; run ./setup.sh again when its message above is dealt with"
}

# A pip of its own: the newer one picks a broken download up where it broke.
pip() {
  if [ ! -e $kDeps/python/.pip ]; then
    rm -rf $kDeps/python
    python3 -m venv $kDeps/python || stop "python3 -m venv fails: install python3-venv"
    $kDeps/python/bin/python -m pip install --quiet --disable-pip-version-check pip==25.3
    touch $kDeps/python/.pip
  fi
  $kDeps/python/bin/python -m pip --disable-pip-version-check --retries 10 "$@"
}

# One wheel after the other, so that a second run starts with the one that broke. pip checks each one's SHA-256.
download_wheels() { # download_wheels LIST
  local requirement one=$kDeps/wheels/one.txt
  mkdir -p $kDeps/wheels
  grep -v '^#' "$1" | while read -r requirement; do
    echo "-- ${requirement%% *}"
    echo "$requirement" >$one
    pip download --quiet --resume-retries 20 --no-deps --require-hashes --only-binary :all: --dest $kDeps/wheels \
      --implementation cp --python-version 3.11 --abi cp311 --abi none \
      --platform manylinux_2_28_x86_64 --platform manylinux_2_18_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux2014_x86_64 \
      --platform manylinux_2_17_x86_64 --platform manylinux2010_x86_64 --requirement $one ||
      stop "the download of ${requirement%% *} broke; run ./setup.sh again, what is there is kept"
  done
}

install_torch() {
  [ $need_torch = 1 ] || return 0
  download_wheels $kWheels
  echo "-- unpacking to $kTorch"
  rm -rf $kTorch.new
  mkdir -p $kTorch.new
  local wheel
  for wheel in $kDeps/wheels/*.whl; do
    python3 -m zipfile -e "$wheel" $kTorch.new
  done
  local cuda
  cuda=$(echo $kTorch.new/nvidia/*/lib)
  LD_LIBRARY_PATH=$cuda python3 -c "import ctypes; ctypes.CDLL('$kTorch.new/torch/lib/libtorch_cpu.so')" ||
    stop "the unpacked libtorch_cpu.so cannot be loaded; remove $kDeps and run ./setup.sh again"
  cp $kWheels $kTorch.new/.complete
  rm -rf $kTorch
  mv $kTorch.new $kTorch
  [ -n "${MUSTER_KEEP_WHEELS:-}" ] || rm -rf $kDeps/wheels
}

install_cuda() {
  [ $need_cuda = 1 ] || return 0
  download_wheels $kCudaWheels
  echo "-- unpacking NCCL and NVRTC to $kTorch"
  local wheel
  for wheel in $kDeps/wheels/nvidia_{nccl,cuda_nvrtc}*.whl; do
    python3 -m zipfile -e "$wheel" $kTorch
  done
  cp $kCudaWheels $kTorch/.cuda-complete
  [ -n "${MUSTER_KEEP_WHEELS:-}" ] || rm -rf $kDeps/wheels
}

install_python() {
  [ $need_python = 1 ] || return 0
  echo "-- Python packages for the tests"
  pip install --quiet --only-binary :all: --no-deps "${kTestPackages[@]}" || stop "pip install failed; run ./setup.sh again"
  echo "${kTestPackages[*]}" >$kDeps/python/.complete
}

check_system
check_packages
check_tools
check_torch
check_cuda
check_python
estimate
check_disk
check_rights
if [ $problems = 0 ]; then
  echo "Everything is there. Next: cmake --preset release && cmake --build --preset release"
  exit 0
fi
echo "To do: about $download_mb MB to download, $disk_mb MB of disk, $minutes minutes on a fast line."
[ $check_only = 0 ] || exit 1
check_network
if [ $assume_yes = 0 ] && [ -t 0 ]; then
  read -r -p "Go ahead? [Y/n] " answer
  case $answer in "" | y | Y | yes) ;; *) exit 1 ;; esac
fi
install_packages
install_torch
install_cuda
install_python
echo "Done. Next: cmake --preset release && cmake --build --preset release"
