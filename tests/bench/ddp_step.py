"""The rival of `muster bench step`: the same mlp trained by torch's DistributedDataParallel over gloo, 2 ranks, 1 thread each."""

import argparse
import json
import os
import statistics
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def rank_main(rank, options, store, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(rank)
    widths = [options.inputs, *options.hidden, 10]
    layers = []
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(*layers[:-1]))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x = torch.randn(options.rows, options.inputs)
    y = torch.randint(0, 10, (options.rows,))
    seconds = []
    warm_up = options.steps // 10 + 2
    for step in range(warm_up + options.steps):
        began = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        if step >= warm_up:
            seconds.append(time.perf_counter() - began)
    results.put(statistics.median(seconds) * 1000)
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hidden", type=lambda text: [int(width) for width in text.split(",")], required=True)
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    context = mp.get_context("spawn")
    results = context.SimpleQueue()
    store = os.path.join(tempfile.mkdtemp(), "store")
    ranks = [context.Process(target=rank_main, args=(rank, options, store, results)) for rank in range(2)]
    for process in ranks:
        process.start()
    slowest = max(results.get() for _ in ranks)
    for process in ranks:
        process.join()
    print(json.dumps({"step_ms": slowest}))


if __name__ == "__main__":
    main()
