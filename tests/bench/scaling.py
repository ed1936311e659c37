"""The cost model of docs/scaling.md: fitted to sums of several sizes over several networks, held to measured steps, extrapolated.

  python3 tests/bench/scaling.py --muster build/release/bin/muster            (as root: makes network namespaces)
  python3 tests/bench/scaling.py --extrapolate                                (only the last table)

Seconds and bytes throughout. Two ranks here; what is said of more follows from the formulas alone."""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20
NETWORKS = {"shared memory": 0, "10 Gbit/s": 10000, "1 Gbit/s": 1000}
SIZES = ["1MiB", "4MiB", "16MiB", "32MiB"]  # smaller ones fit into a capped link's burst
STEPS = {
    "mlp, 5.8 M, 64 rows": ["--options", "{hidden: [2048, 2048]}", "--rows", "64"],
    "mlp of 7 layers, 6.3 M, 1,024 rows": ["--options", "{hidden: [1024, 1024, 1024, 1024, 1024, 1024]}", "--shape", "1024", "--rows", "1024", "--bucket-bytes", str(4 * MIB + 65536)],
    "the same, 2,048 rows": ["--options", "{hidden: [1024, 1024, 1024, 1024, 1024, 1024]}", "--shape", "1024", "--rows", "2048", "--bucket-bytes", str(4 * MIB + 65536)],
    "gpt, 9.6 M, 4 windows": ["--model", "gpt", "--options", "{layers: 4, width: 384, heads: 6}", "--shape", "129", "--vocabulary", "6000", "--rows", "4",
                              "--bucket-bytes", str(4 * MIB)],
}
def ring(ranks, size, alpha, beta):
    """An all-reduce by a ring: 2 (N − 1) messages one after the other, 2 (N − 1) / N of the bytes over each link."""
    return 2 * (ranks - 1) * alpha + 2 * (ranks - 1) / ranks * size / beta


def tree(ranks, size, alpha, beta):
    """By double binary trees (Sanders, Speck, Träff 2009): as many bytes, messages by the logarithm."""
    return 4 * math.ceil(math.log2(ranks)) * alpha + 2 * (ranks - 1) / ranks * size / beta


def step_seconds(compute, buckets, sum_seconds):
    """Of a step whose backward pass (two thirds of `compute`) finishes the buckets' gradients one after the other, in proportion to their bytes,
    while they are summed one after the other."""
    done = ready = compute / 3
    for size in buckets:
        ready += 2 / 3 * compute * size / sum(buckets)
        done = max(done, ready) + sum_seconds(size)
    return max(compute, done)


def muster(options, network, words):
    command = [options.muster, *words, "--json"]
    if network:
        command = ["bash", str(HERE / "two_hosts.sh"), "--mbit", str(network), *command]
    else:
        command = ["mpirun", "-np", "2", "--bind-to", "none", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"})
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])


def fit(points):
    """(α, β) of ring() for 2 ranks, which minimise the squared relative errors of [(bytes, seconds)]."""
    # seconds = a + b bytes, weighted by 1 / seconds².
    weights = [1 / seconds ** 2 for _, seconds in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points)) / total
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points)) / sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points))
    return max(0.0, mean_y - slope * mean_x) / 2, 1 / slope


def measure(options):
    for name, network in NETWORKS.items():
        result = muster(options, network, ["bench", "allreduce", "--rounds", "10", "--bytes", ",".join(SIZES)])
        points = [(size["bytes"], size["sum_us"] / 1e6) for size in result["sizes"]]
        alpha, beta = fit(points)
        worst = max(abs(ring(2, size, alpha, beta) / seconds - 1) for size, seconds in points)
        print(f"\n{name}: alpha {alpha * 1e6:.0f} us, beta {beta / 1e6:.0f} MB/s; the fit is off by {100 * worst:.0f} % at most over {SIZES[0]} to {SIZES[-1]}", flush=True)
        for step, words in STEPS.items():
            result = muster(options, network, ["bench", "step", "--steps", str(options.steps), *words])
            alone, measured = result["alone_ms"] / 1e3, result["step_ms"] / 1e3
            total = sum(ring(2, size, alpha, beta) for size in result["buckets"])
            predicted = step_seconds(alone, result["buckets"], lambda size: ring(2, size, alpha, beta))
            hidden = 1 - max(0.0, measured - alone) / total
            print(f"  {step:36} {len(result['buckets']):3} buckets, alone {1e3 * alone:7.1f} ms, sums {1e3 * total:7.1f} ms, step {1e3 * measured:7.1f} ms "
                  f"(predicted {1e3 * predicted:7.1f}: {100 * (predicted / measured - 1):+.0f} %), hidden {100 * hidden:.0f} %", flush=True)


# One H100's steps: docs/gpus.md. Networks: what such machines are sold with, and usual latencies; nothing of this was measured here.
CLUSTER = {"in a host": (8e-6, 350e9), "between hosts": (20e-6, 45e9)}
# The verdict: an all-gather of 130 bytes a rank over MPI; two ranks of one host take 5 us.
VERDICT_BYTES = 130


def gpt_124m():
    """Buckets as trainer/gradients/bucket_plan.cpp makes them: what the backward pass finishes first comes first, the tied embedding last."""
    block = [768 * 4, 3072 * 768 * 4, 3072 * 4, 3072 * 768 * 4, 768 * 4, 768 * 4, 768 * 4, 768 * 768 * 4, 2304 * 4, 2304 * 768 * 4, 768 * 4, 768 * 4]
    return cut([768 * 4, 768 * 4] + 12 * block + [1024 * 768 * 4, 50304 * 768 * 4])


def cut(sizes, first=1 * MIB, most=25 * MIB):
    buckets = []
    for size in sizes:
        if not buckets or buckets[-1] + size > (first if len(buckets) <= 1 else most):
            buckets.append(0)
        buckets[-1] += size
    return buckets


MODELS = {"gpt-124M, 16 windows": (37.4e-3, gpt_124m()),
          "the same, output not tied": (37.4e-3, cut([50304 * 768 * 4]) + gpt_124m()),
          "resnet50, 128 images": (28.2e-3, cut([4 * 25_600_000 // 60] * 60)),
          "mlp 2.4 M, 4,096 rows": (2.27e-3, cut([4 * 10240, 4 * 1024 * 1024, 4 * 1024 * 1024, 4 * 256 * 1024]))}


def extrapolate():
    print(f"\n{'':28}{'GPUs':>6}{'step':>10}{'sums, ring':>12}{'tree':>10}{'verdict':>10}{'efficiency':>12}")
    for name, (compute, buckets) in MODELS.items():
        for ranks in (8, 64, 1024):
            alpha, beta = CLUSTER["in a host" if ranks <= 8 else "between hosts"]
            best = lambda size: min(ring(ranks, size, alpha, beta), tree(ranks, size, alpha, beta))
            verdict = math.ceil(math.log2(ranks)) * alpha + ranks * VERDICT_BYTES / beta
            step = step_seconds(compute, buckets, best) + verdict
            sums = [sum(way(ranks, size, alpha, beta) for size in buckets) for way in (ring, tree)]
            print(f"{name:28}{ranks:>6}{1e3 * step:>8.1f}ms{1e3 * sums[0]:>10.1f}ms{1e3 * sums[1]:>8.1f}ms{1e3 * verdict:>8.2f}ms{100 * compute / step:>10.0f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--muster", default="build/release/bin/muster")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--extrapolate", action="store_true")
    options = parser.parse_args()
    options.muster = str(pathlib.Path(options.muster).resolve())
    if not options.extrapolate:
        measure(options)
    extrapolate()


if __name__ == "__main__":
    main()
