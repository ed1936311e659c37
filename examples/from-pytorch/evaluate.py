"""The mean loss of weights that Muster wrote, by PyTorch: evaluate.py WEIGHTS DATA ORDER (of `muster order --json`)"""

import sys

import torch
from gpt2 import GPT2
from safetensors.torch import load_file
from train import next_token_loss
from windows import Order, Windows

weights, data, order = sys.argv[1:]
model = GPT2(vocabulary=8, context=64, layers=2, width=32, heads=2)
model.load_state_dict(load_file(weights))
total = rows = 0
with torch.no_grad():
    for ids in torch.utils.data.DataLoader(Windows(data, length=64, stride=64), batch_sampler=Order(order, rank=0)):
        total += next_token_loss(model, ids).item() * len(ids)
        rows += len(ids)
print(f"PyTorch: loss {total / rows:.6f} over {rows} rows")
