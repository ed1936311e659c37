"""The same models in Python on one GPU, under DistributedDataParallel (NCCL, one rank), in bfloat16 autocast: the time of a step."""

import argparse
import json
import os
import statistics
import tempfile
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.inner = nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                                   nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                                   nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.way = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.way = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return functional.relu(self.inner(x) + self.way(x))


def resnet50():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            layers.append(Bottleneck(channels, 64 << stage, 2 if stage and not block else 1))
            channels = 4 * (64 << stage)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)]
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
    def __init__(self, vocabulary=50304, context=1024, layers=12, width=768, heads=12):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[GptBlock(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids):
        return functional.linear(self.norm(self.blocks(self.tokens(ids) + self.positions.weight)), self.tokens.weight)


def mlp():
    return nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["mlp", "resnet50", "gpt"], required=True)
    parser.add_argument("--mode", choices=["eager", "compile"], required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    dist.init_process_group("nccl", init_method=f"file://{os.path.join(tempfile.mkdtemp(), 'store')}", rank=0, world_size=1)
    torch.cuda.set_device(0)
    torch.manual_seed(0)
    if options.model == "gpt":
        model = Gpt()
        ids = torch.randint(0, 50304, (options.rows, 1025))
        x, y = ids[:, :-1].contiguous(), ids[:, 1:].reshape(-1)
    elif options.model == "resnet50":
        model, x, y = resnet50(), torch.randn(options.rows, 3, 224, 224), torch.randint(0, 1000, (options.rows,))
    else:
        model, x, y = mlp(), torch.randn(options.rows, 256), torch.randint(0, 10, (options.rows,))
    model = nn.parallel.DistributedDataParallel(model.cuda(), device_ids=[0])
    step_model = torch.compile(model) if options.mode == "compile" else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, fused=True)
    x, y = x.pin_memory(), y.pin_memory()
    seconds = []
    warm_up = 10
    for step in range(warm_up + options.steps):
        torch.cuda.synchronize()
        began = time.perf_counter()
        on_gpu, label = x.cuda(non_blocking=True), y.cuda(non_blocking=True)
        if options.model == "resnet50":
            on_gpu = on_gpu.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            scores = step_model(on_gpu)
            loss = functional.cross_entropy(scores.reshape(len(label), -1).float(), label)
        loss.backward()
        optimizer.step()
        torch.cuda.synchronize()
        if step >= warm_up:
            seconds.append(time.perf_counter() - began)
    print(json.dumps({"step_ms": statistics.median(seconds) * 1000, "torch": torch.__version__, "gpu": torch.cuda.get_device_name()}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
