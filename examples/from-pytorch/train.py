"""GPT-2 under DistributedDataParallel, as many projects train it.

    torchrun --nproc-per-node 2 examples/from-pytorch/train.py DATA ORDER

writes start.safetensors and trained.safetensors, and each step's loss to losses.json. ORDER: in place of DistributedSampler the
rows that `muster order --json` names, so that both programs see the same batches.
"""

import json
import math
import sys

import torch
import torch.distributed as dist
from gpt2 import GPT2
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from windows import Order, Windows


def parameter_groups(model, weight_decay):
    """Decay for matrices: neither for biases nor for norms."""
    return [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": weight_decay},
            {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]


def rate_ratio(step, warm_up, horizon, last):
    """Linear up, then along a cosine down to `last`."""
    if step < warm_up:
        return (step + 1) / warm_up
    return last + (1 - last) * (1 + math.cos(math.pi * (step - warm_up) / (horizon - warm_up))) / 2


def train(model, batches, loss_of, optimizer, schedule, clip_norm):
    """The mean loss of each step over all ranks, which have as many rows each."""
    losses = []
    for batch in batches:
        loss = loss_of(model, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        schedule.step()
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        losses.append(mean.item() / dist.get_world_size())
    return losses


def next_token_loss(model, ids):
    logits = model(ids[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def main():
    data, order = sys.argv[1:]
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = GPT2(vocabulary=8, context=64, layers=2, width=32, heads=2)
    if dist.get_rank() == 0:
        save_file(model.state_dict(), "start.safetensors")
    ddp = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(parameter_groups(ddp, 0.01), lr=0.02, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_ratio(step, warm_up=20, horizon=200, last=0.1))
    batches = torch.utils.data.DataLoader(Windows(data, length=64, stride=64), batch_sampler=Order(order, dist.get_rank()))
    losses = train(ddp, batches, next_token_loss, optimizer, schedule, clip_norm=1.0)
    if dist.get_rank() == 0:
        save_file(model.state_dict(), "trained.safetensors")
        with open("losses.json", "w", encoding="utf-8") as file:
            json.dump({"torch": torch.__version__, "losses": losses}, file)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
