"""Small models in plain PyTorch, with what they make of some input: tests/trainer/pytorch_parity_test.cpp holds ours to it.

usage: make.py DIR     writes DIR/*.safetensors; those that the test reads lie in kept/. Needs torch and safetensors:
                       build/deps/ddp/bin/python tests/pytorch/make.py tests/pytorch/kept
       make.py --check DIR     instead: ends with an error unless PyTorch makes the same numbers today (to 1e-5)
"""

import functools
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples/from-pytorch"))
from gpt2 import GPT2  # noqa: E402


def group_norm(channels):
    groups = min(max(channels // 2, 1), 32)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


class BasicBlock(nn.Module):
    """Of torchvision's resnet18, by its names."""

    def __init__(self, inputs, outputs, stride, norm):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), norm(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), norm(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))

    def forward(self, x):
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(inner + (x if self.downsample is None else self.downsample(x)))


class Resnet18(nn.Module):
    def __init__(self, width, classes, norm):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), norm(width)
        inputs = width
        for stage in range(4):
            outputs = width << stage
            self.add_module(f"layer{stage + 1}",
                            nn.Sequential(BasicBlock(inputs, outputs, 2 if stage else 1, norm), BasicBlock(outputs, outputs, 1, norm)))
            inputs = outputs
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(x.mean((2, 3)))


def scatter(model):
    """Weights that make a difference everywhere, norms and biases too."""
    for parameter in model.parameters():
        fan_in = parameter[0].numel() if parameter.dim() == 4 else 16
        nn.init.normal_(parameter, mean=1.0 if parameter.dim() == 1 else 0.0, std=0.3 if parameter.dim() == 1 else fan_in ** -0.5)


def gpt2():
    torch.manual_seed(1)
    model = GPT2(vocabulary=61, context=16, layers=2, width=16, heads=4)
    scatter(model)
    ids = torch.randint(0, 61, (3, 13))  # fewer than there are positions for
    logits = model(ids[:, :-1])
    losses = functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").mean(1)
    return model, weights_of(model), {"input": ids, "scores": logits, "losses": losses}


def pattern(*shape):
    """Numbers in [-1, 1) that need no file."""
    count = torch.tensor(shape).prod().item()
    return ((torch.arange(count) * 40503 % 65536).float() / 32768 - 1).view(shape)


def resnet(norm):
    torch.manual_seed(2)
    model = Resnet18(width=2, classes=5, norm=norm)
    scatter(model)
    for name, buffer in model.named_buffers():  # as if it had been trained
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    images, labels = pattern(3, 3, 64, 72), torch.tensor([4, 0, 2])
    weights = weights_of(model)  # before a training moves the running statistics
    with torch.no_grad():
        evaluated = model.eval()(images)
    logits = model.train()(images)
    losses = functional.cross_entropy(logits, labels, reduction="none")
    return model, weights, {"evaluated": evaluated, "labels": labels, "scores": logits, "losses": losses}


def weights_of(model):
    return {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}


def make(build):
    """The weights; then input (but for images), scores, each row's loss, and the gradients of the losses' sum."""
    model, weights, seen = build()
    seen["losses"].sum().backward()
    expected = {name: tensor.detach().contiguous() for name, tensor in seen.items()}
    expected |= {f"gradient.{name}": parameter.grad for name, parameter in model.named_parameters()}
    return weights, expected


def main():
    check, folder = sys.argv[1] == "--check", pathlib.Path(sys.argv[-1])
    torch.set_num_threads(1)
    builds = {"gpt2": gpt2, "resnet": functools.partial(resnet, group_norm), "resnet-batch": functools.partial(resnet, nn.BatchNorm2d)}
    for name, build in builds.items():
        for kind, tensors in zip(("weights", "expected"), make(build)):
            path = folder / f"{name}-{kind}.safetensors"
            if not check:
                save_file(tensors, path, metadata={"torch": torch.__version__})
                continue
            kept = load_file(path)
            assert kept.keys() == tensors.keys(), path
            worst = max(((kept[key] - tensors[key]).abs() / (1 + kept[key].abs())).max().item() for key in kept)
            print(f"{path.name}: differs by at most {worst:.1e}")
            assert worst <= 1e-5, path


main()
