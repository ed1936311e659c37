"""The rival of `muster bench step`: the same model trained by torch's DistributedDataParallel over gloo, 2 ranks, 1 thread each."""

import argparse
import json
import math
import os
import statistics
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional


def mlp(options):
    widths = [options.shape[0], *options.hidden, 10]
    layers = []
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def norm(channels):
    groups = min(max(channels // 2, 1), 32)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), norm(outputs), nn.ReLU(),
                                   nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), norm(outputs))
        self.way = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.way = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))

    def forward(self, x):
        return functional.relu(self.inner(x) + self.way(x))


def resnet18(options):
    channels = options.shape[0]
    layers = [nn.Conv2d(channels, 64, 3, 1, 1, bias=False), norm(64), nn.ReLU()]
    width = 64
    for stage in range(4):
        for block in range(2):
            layers.append(Residual(width, 64 << stage, 2 if stage and not block else 1))
            width = 64 << stage
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention_in, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp_in, self.mlp_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        rows, tokens, width = x.shape
        q, k, v = self.attention_in(self.attention_norm(x)).view(rows, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention_out(mixed.transpose(1, 2).reshape(rows, tokens, width))
        return x + self.mlp_out(functional.gelu(self.mlp_in(self.mlp_norm(x))))


class Gpt(nn.Module):
    def __init__(self, options):
        super().__init__()
        self.tokens = nn.Embedding(options.vocabulary, options.width)
        self.positions = nn.Embedding(options.shape[0] - 1, options.width)
        self.blocks = nn.Sequential(*[GptBlock(options.width, options.heads) for _ in range(options.layers)])
        self.norm = nn.LayerNorm(options.width)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02 / (math.sqrt(2 * options.layers) if "_out" in name else 1))

    def forward(self, ids):
        return functional.linear(self.norm(self.blocks(self.tokens(ids) + self.positions.weight)), self.tokens.weight)


MODELS = {"mlp": mlp, "resnet": resnet18, "gpt": Gpt}


def rank_main(rank, options, store, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(rank)
    model = nn.parallel.DistributedDataParallel(MODELS[options.model](options))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    if options.model == "gpt":
        ids = torch.randint(0, options.vocabulary, (options.rows, options.shape[0]))
        x, y = ids[:, :-1], ids[:, 1:].reshape(-1)
    else:
        x, y = torch.randn(options.rows, *options.shape), torch.randint(0, 10, (options.rows,))
    if options.model == "resnet":
        x = x.contiguous(memory_format=torch.channels_last)
    seconds = []
    warm_up = options.steps // 10 + 2
    for step in range(warm_up + options.steps):
        began = time.perf_counter()
        optimizer.zero_grad()
        scores = model(x)
        functional.cross_entropy(scores.reshape(len(y), -1), y).backward()
        optimizer.step()
        if step >= warm_up:
            seconds.append(time.perf_counter() - began)
    results.put(statistics.median(seconds) * 1000)
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser()
    numbers = {"type": lambda text: [int(number) for number in text.split(",")]}
    parser.add_argument("--model", choices=MODELS, default="mlp")
    parser.add_argument("--shape", default=[784], **numbers)
    parser.add_argument("--hidden", default=[2048, 2048], **numbers)
    parser.add_argument("--vocabulary", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--heads", type=int, default=4)
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
