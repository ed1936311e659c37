"""PyTorch's half of parity_vs_ddp.sh: the same models from the same weights over the same rows by DistributedDataParallel over gloo."""

import argparse
import functools
import json
import os
import platform
import sys

import h5py
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

import parity_cases as cases
from parity_cases import m

sys.path.insert(0, str(m.SOURCE / "examples/from-pytorch"))
from gpt2 import GPT2  # noqa: E402
from train import next_token_loss, parameter_groups, rate_ratio, train  # noqa: E402
from windows import Order, Windows  # noqa: E402


class Mlp(nn.Module):
    def __init__(self, widths):
        super().__init__()
        for i, (inputs, outputs) in enumerate(zip(widths, widths[1:-1])):
            self.add_module(f"hidden_{i}", nn.Linear(inputs, outputs))
        self.output = nn.Linear(widths[-2], widths[-1])

    def forward(self, x):
        *hidden, output = self.children()
        for layer in hidden:
            x = functional.relu(layer(x))
        return output(x)


class Images:
    def __init__(self, folder):
        partitions = json.loads((folder / "manifest.json").read_text())["partitions"]
        self.files = [h5py.File(folder / partition["name"]) for partition in partitions]
        self.model = Mlp([28 * 28, *cases.CASES["mlp"]["config"]["model"]["hidden"], 10])

    def __getitem__(self, item):
        partition, row = item
        image = torch.from_numpy(self.files[partition]["image"][row]).flatten().float() / 255
        return image, int(self.files[partition]["label"][row])

    @staticmethod
    def loss(model, batch):
        images, labels = batch
        return functional.cross_entropy(model(images), labels)


class Tokens:
    def __init__(self, folder):
        options = cases.CASES["gpt"]["config"]["model"]
        self.model = GPT2(8, 64, options["layers"], options["width"], options["heads"])
        self.windows = Windows(folder, length=64, stride=64)

    def __getitem__(self, item):
        return self.windows[item]

    loss = staticmethod(next_token_loss)


def rank_main(rank, name, folder, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=cases.RANKS)
    task = {"mlp": Images, "gpt": Tokens}[name](folder / "data")
    task.model.load_state_dict(load_file(folder / "start.safetensors"))
    model = nn.parallel.DistributedDataParallel(task.model)
    settings = cases.CASES[name]["config"]["optimizer"]
    optimizer = torch.optim.AdamW(parameter_groups(model, settings["weight_decay"]), lr=settings["learning_rate"],
                                  betas=(0.9, settings.get("beta2", 0.999)), eps=1e-8)
    ratio = functools.partial(rate_ratio, warm_up=cases.SCHEDULE["warmup_steps"], horizon=cases.STEPS, last=cases.SCHEDULE["final_ratio"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, ratio)
    batches = torch.utils.data.DataLoader(task, batch_sampler=Order(folder / "order.jsonl", rank))
    losses = train(model, batches, task.loss, optimizer, schedule, cases.CLIP_NORM)
    if rank == 0:
        results.put(losses)
    dist.destroy_process_group()


def ddp_half(name, folder):
    context = mp.get_context("spawn")
    results = context.SimpleQueue()
    ranks = [context.Process(target=rank_main, args=(rank, name, folder, results)) for rank in range(cases.RANKS)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
        m.check(process.exitcode == 0, f"a rank of DDP ended with {process.exitcode}")
    return results.get()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", action="store_true", help="write PyTorch's losses to parity_vs_ddp.json")
    keep = parser.parse_args().keep
    made = {"versions": {"torch": torch.__version__, "python": platform.python_version(), "h5py": h5py.__version__}, "cases": {}}
    for name in cases.CASES:
        with m.Scratch() as folder:
            config = cases.prepare(name, folder)
            ours = cases.muster_half(name, config, folder)
            order = m.run("order", config, "--epoch", 0, "--steps", f"0:{cases.STEPS}", "--world", cases.RANKS, "--json").stdout
            (folder / "order.jsonl").write_text(order)
            theirs = ddp_half(name, folder)
            cases.compare(name, ours["losses"], theirs)
            made["cases"][name] = {"depends_on": ours["depends_on"], "losses": theirs}
    if keep:
        cases.KEPT.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    main()
