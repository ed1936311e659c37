"""libmuster_cuda as its loader wants it: cuda_module_test.py LIBRARY. No GPU is needed, and nothing of CUDA is loaded."""
import subprocess
import sys


def lines(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main():
    needed = lines("readelf", "-d", sys.argv[1])
    # Without it LibTorch has no CUDA: nothing of ours calls it, so a linker may think that it can go.
    for library in ("libtorch_cuda.so", "libnccl.so.2"):
        if f"[{library}]" not in needed:
            sys.exit(f"{sys.argv[1]} does not bring {library}:\n{needed}")
    symbols = lines("nm", "-D", "--defined-only", sys.argv[1]).split()
    for symbol in ("muster_gpu_module_version", "muster_make_gpus"):
        if symbol not in symbols:
            sys.exit(f"{sys.argv[1]} has no {symbol}")
    print("ok")


main()
