"""Windows of tokens out of HDF5 partitions, as a PyTorch Dataset."""

import json
import pathlib

import h5py
import torch


class Windows(torch.utils.data.Dataset):
    """Item (partition, row): `length` + 1 tokens from row * stride on; the last one is only a target."""

    def __init__(self, folder, length, stride):
        self.length, self.stride = length, stride
        partitions = json.loads((pathlib.Path(folder) / "manifest.json").read_text())["partitions"]
        self.tokens = [h5py.File(pathlib.Path(folder) / partition["name"])["tokens"] for partition in partitions]

    def __getitem__(self, item):
        partition, row = item
        begin = row * self.stride
        return torch.from_numpy(self.tokens[partition][begin:begin + self.length + 1]).long()


class Order(torch.utils.data.Sampler):
    """The batches that `muster order --json` names for a rank: lists of (partition, row)."""

    def __init__(self, path, rank):
        lines = [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]
        self.batches = [line["rows"] for line in lines if line.get("rank") == rank]

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)
