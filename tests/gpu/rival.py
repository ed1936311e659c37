"""The same models in Python on one GPU, under DistributedDataParallel (NCCL, one rank), in bfloat16 autocast: the time of a step."""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import ddp_step

VOCABULARY, CONTEXT = 50304, 1024


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
        model = ddp_step.Gpt(argparse.Namespace(vocabulary=VOCABULARY, shape=[CONTEXT + 1], layers=12, width=768, heads=12))
        ids = torch.randint(0, VOCABULARY, (options.rows, CONTEXT + 1))
        x, y = ids[:, :-1].contiguous(), ids[:, 1:].reshape(-1)
    elif options.model == "resnet50":
        model, x, y = resnet50(), torch.randn(options.rows, 3, 224, 224), torch.randint(0, 1000, (options.rows,))
    else:
        model, x, y = ddp_step.mlp(argparse.Namespace(shape=[256], hidden=[1024] * 3)), torch.randn(options.rows, 256), torch.randint(0, 10, (options.rows,))
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
