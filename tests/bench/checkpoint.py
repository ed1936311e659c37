"""What a checkpoint costs: `muster bench checkpoint` beside dd, torch.save and torch.distributed.checkpoint. See checkpoint.sh.

    checkpoint.py table MUSTER BYTES DIRECTORY ROUNDS     one table, medians of rounds taken in turns
    checkpoint.py stall MUSTER DIRECTORY RUNS STEPS       what a checkpoint costs a training's steps
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def synced(path):
    for file in sorted(pathlib.Path(path).rglob("*")) if os.path.isdir(path) else [path]:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


class Rivals:
    """The same number of bytes as a state dict of Adam: weights and two more tensors of each."""

    def __init__(self, size, directory):
        import torch

        self.torch = torch
        self.directory = pathlib.Path(directory)
        numbers = size // 12
        width = 1 << 22  # 16 MiB a tensor, as large layers have
        sizes = [width] * (numbers // width) + ([numbers % width] if numbers % width else [])
        self.state = {name: {str(i): torch.rand(n) for i, n in enumerate(sizes)} for name in ("model", "exp_avg", "exp_avg_sq")}

    def save(self):
        """(seconds until it is safe on the disk, seconds for which training stands still)"""
        path = self.directory / "rival.pt"
        took = timed(lambda: (self.torch.save(self.state, path), synced(path)))
        path.unlink()
        return took, took

    def distributed(self):
        import torch.distributed.checkpoint as dcp

        path = self.directory / "rival.dcp"
        took = timed(lambda: dcp.save(self.state, checkpoint_id=path, no_dist=True))  # it syncs its files itself
        shutil.rmtree(path)
        return took, took

    def asynchronous(self):
        import torch.distributed.checkpoint as dcp

        path = self.directory / "rival.dcp"
        began = time.perf_counter()
        future = dcp.async_save(self.state, checkpoint_id=path, no_dist=True)
        stall = time.perf_counter() - began
        future.result()
        took = time.perf_counter() - began
        shutil.rmtree(path)
        return took, stall


def dd(source, directory):
    target = pathlib.Path(directory) / "dd.bin"
    took = timed(lambda: subprocess.run(["dd", f"if={source}", f"of={target}", "bs=16M", "conv=fsync"], check=True, capture_output=True))
    target.unlink()
    return took


def table(muster, size, directory, rounds):
    source = pathlib.Path("/dev/shm") / f"muster-bench-{os.getpid()}"
    with open(source, "wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    rivals = Rivals(size, directory)
    rows = {}
    try:
        for turn in range(rounds + 1):
            mine = json.loads(subprocess.run([muster, "bench", "checkpoint", "--bytes", str(size), "--dir", directory, "--rounds", "1", "--json"],
                                             check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            measured = {
                "muster: written, hashed, synced": (mine["write_seconds"], mine["copy_seconds"]),
                "muster: and read back, hashed": (mine["write_seconds"] + mine["verify_seconds"], mine["copy_seconds"]),
                "limit: SHA-256 of the bytes": (mine["hash_seconds"], 0),
                "limit: dd conv=fsync": (dd(source, directory), 0),
                "torch.save, fsync": rivals.save(),
                "torch.distributed.checkpoint": rivals.distributed(),
                "  its async_save": rivals.asynchronous(),
            }
            for name, seconds in measured.items():
                if turn > 0:  # the first warms up
                    rows.setdefault(name, []).append(seconds)
    finally:
        source.unlink()
    mine = statistics.median(took for took, _ in rows["muster: written, hashed, synced"])
    print(f"{size / 1e6:.0f} MB of state, {os.cpu_count()} cores, {rounds} rounds in turns, medians")
    print(f"{'':38}{'on disk':>10}{'MB/s':>8}{'stands still':>14}{'ratio':>7}")
    for name, times in rows.items():
        took, stall = (statistics.median(column) for column in zip(*times))
        still = f"{stall:.3f} s" if stall else "-"
        print(f"{name:38}{took:8.3f} s{size / took / 1e6:8.0f}{still:>14}{took / mine:7.2f}")


CONFIG = """\
run: {{name: {name}, dir: {directory}/runs, seed: 1}}
data: {{dataset: {directory}/data}}
model: {{name: mlp, hidden: [{hidden}]}}
batch: {{size: {batch}, lanes: 2}}
train: {{steps: {steps}, threads: 1}}
optimizer: {{name: adamw, learning_rate: 0.0001}}
evaluate: {{split: ""}}
checkpoint: {{every_steps: {every}, every_seconds: 0}}
log: {{tensorboard: false}}
"""


def seconds_of(event):
    import datetime

    return datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()


WINDOW = 12  # steps after a checkpoint's begin in which it is written: they are compared with the other steps of the same run


def train(muster, directory, name, ranks, every, steps, **model):
    """What one checkpoint cost the steps after it, in seconds: each run's own, and a usual step."""
    config = pathlib.Path(directory) / f"{name}.yaml"
    config.write_text(CONFIG.format(name=name, directory=directory, every=every, steps=steps, **model))
    subprocess.run(["mpirun", "-np", str(ranks), "--bind-to", "none", muster, "train", str(config)], check=True, capture_output=True)
    run = pathlib.Path(directory) / "runs" / name
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    times = [seconds_of(event) for event in events if event["event"] == "step"]
    commits = [event for event in events if event["event"] == "checkpoint_committed" and event["step"] not in (0, steps)]
    shutil.rmtree(run)
    took = {step: times[step] - times[step - 1] for step in range(1, len(times))}  # of the step that follows `step`
    begun = range(every, steps, every)
    near = {step: {step + i for i in range(WINDOW)} for step in begun}
    usual = statistics.mean(seconds for step, seconds in took.items() if step > WINDOW and not any(step in window for window in near.values()))
    return [sum(took[i] for i in window) - WINDOW * usual for window in near.values()], usual, commits


def stall(muster, directory, runs, steps, every=50):
    directory = os.path.abspath(directory)
    subprocess.run([muster, "generate", "tabular", "--rows", "40000", "--partitions", "2", "--out", f"{directory}/data"], check=True, capture_output=True)
    subprocess.run([muster, "validate", f"{directory}/data"], check=True, capture_output=True)
    print(f"what a checkpoint costs the {WINDOW} steps after it beside the other steps of its run; {os.cpu_count()} cores, {runs} runs of {steps} steps", flush=True)
    for ranks in (1, 2):
        costs, usual, commits = [], [], []
        for run in range(runs):
            cost, step, seen = train(muster, directory, f"r{ranks}-{run}", ranks, every, steps, hidden="4096, 4096, 4096", batch=64 * ranks)
            costs += cost
            usual.append(step)
            commits += seen
        step, cost = statistics.mean(usual), statistics.mean(costs)
        error = statistics.stdev(costs) / len(costs) ** 0.5
        print(f"{ranks} ranks of 1 thread, {commits[0]['state_bytes'] / 1e6:.0f} MB of state, {step * 1e3:.0f} ms a step: a checkpoint costs"
              f" {cost:.2f} s (standard error {error:.2f}, {len(costs)} of them), of 100 steps {100 * cost / (100 * step):.2f} %; stands still"
              f" {statistics.median(c['stall_seconds'] for c in commits):.3f} s, committed {statistics.median(c['commit_seconds'] for c in commits):.2f} s later", flush=True)
    shutil.rmtree(f"{directory}/data")


if __name__ == "__main__":
    if sys.argv[1] == "table":
        table(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
    else:
        stall(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
