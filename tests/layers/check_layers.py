#!/usr/bin/env python3
"""Holds the folders to their order: core <- data_loader <- models <- trainer <- launch, and the rooms of a layer to theirs.

usage: check_layers.py ROOT. Prints one line per offence, `file:line: what`, and exits 1 if there is one.
"""
import re
import sys
from pathlib import Path

LAYERS = ["core", "data_loader", "models", "trainer", "launch"]
# The folders of a layer that has them: a file lies in one of them, and includes go to the left here, too.
ROOMS = {
    "data_loader": ["contract", "manifest", "reading", "features", "dataset", "order", "stream", "writing", "ingest", "generators"],
    "trainer": ["config", "comm", "data", "checkpoint", "gradients", "runlog", "evaluation", "loop", "scoring", "bench", "cuda"],
}
MAY_USE_MPI = {"trainer", "launch"}
MAY_USE_HDF5 = {"data_loader"}
MAY_USE_TORCH = {"models", "trainer", "launch"}
HEADER_LINES = 160
SOURCE_LINES = 450

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
CONDITION = re.compile(r"^\s*#\s*(?:el)?if.*(?:CUDA|NCCL)")
TORCH = re.compile(r"^(torch|ATen|c10|caffe2)/")
MPI = re.compile(r"^(mpi|mpi-ext|mpi_.*)\.h$")
HDF5 = re.compile(r"^(hdf5|hdf5_hl|H5[A-Za-z]+)\.h$|^H5Cpp\.h$")
CUDA_MODULE = re.compile(r"cuda|nccl")  # in the path of a file that belongs to the module


def torch_sources(layer: Path) -> set:
    """The files that the CMakeLists.txt of a layer, and of folders in it, list after TORCH_SOURCES."""
    names = set()
    for lists in layer.rglob("CMakeLists.txt"):
        text = re.sub(r"#.*", "", lists.read_text())
        for words in re.findall(r"TORCH_SOURCES\s+([^)]*)", text):
            for word in words.split():
                if word.isupper():  # the next keyword: LINK, PRIVATE_LINK, SOURCES
                    break
                names.add((lists.parent / word).resolve())
    return names


def room_of(name: str):
    """(layer, room) of a path from the root, or None where its layer has no rooms or it lies in none of them."""
    parts = name.split("/")
    return tuple(parts[:2]) if len(parts) > 2 and parts[1] in ROOMS.get(parts[0], []) else None


def check_room(relative: str, name: str):
    """What is wrong with the file `relative` including `name`, both of one layer, or None."""
    here, there = room_of(relative), room_of(name)
    if here is None or there is None or here[0] != there[0]:
        return None
    rooms = ROOMS[here[0]]
    if rooms.index(there[1]) > rooms.index(here[1]):
        return f"includes {name}: {'/'.join(here)} is to the left of {'/'.join(there)}"
    return None


def check_include(path: Path, layer: str, name: str, is_torch_source: bool):
    """What is wrong with including `name` here, or None."""
    name = name.removeprefix("muster/")
    first = name.split("/")[0]
    if first in LAYERS and LAYERS.index(first) > LAYERS.index(layer):
        return f"includes {name}: {layer} is to the left of {first}"
    if TORCH.match(name):
        if layer not in MAY_USE_TORCH:
            return f"includes {name}: {layer} knows nothing of torch"
        if path.suffix == ".h":
            return f"includes {name}: torch stays out of headers; declare what you need, include it in the .cpp"
        if not is_torch_source:
            return f"includes {name}: list this file under TORCH_SOURCES in {layer}/CMakeLists.txt"
    if MPI.match(name) and layer not in MAY_USE_MPI:
        return f"includes {name}: {layer} knows nothing of MPI, rank and size are numbers"
    if HDF5.match(name) and layer not in MAY_USE_HDF5:
        return f"includes {name}: HDF5 stays in data_loader"
    return None


def check_file(path: Path, root: Path, layer: str, torch_files: set):
    relative = path.relative_to(root)
    if layer in ROOMS and room_of(str(relative)) is None:
        yield f"{relative}:1: {layer} has rooms: put it into one of {', '.join(ROOMS[layer])}"
    lines = path.read_text().splitlines()
    limit = HEADER_LINES if path.suffix == ".h" else SOURCE_LINES
    if len(lines) > limit:
        yield f"{relative}:{len(lines)}: {len(lines)} lines, the limit is {limit}: one idea per file"
    for number, line in enumerate(lines, 1):
        include = INCLUDE.match(line)
        if include:
            name = include.group(1)
            wrong = check_include(path, layer, name, path.resolve() in torch_files)
            wrong = wrong or check_room(str(relative), name.removeprefix("muster/"))
            if wrong is None and "/" not in name and (path.parent / name).exists():
                wrong = f"includes {name}: write the path from the root, {path.parent.relative_to(root)}/{name}"
            if wrong is None and name.startswith("../"):
                wrong = f"includes {name}: write the path from the root"
            if wrong:
                yield f"{relative}:{number}: {wrong}"
        elif CONDITION.match(line) and not CUDA_MODULE.search(str(relative)):
            yield f"{relative}:{number}: callers have no #if for CUDA or NCCL: that is for the CUDA module"


def check_links(root: Path, layer: str):
    """CMake must not link to the right either."""
    lists = root / layer / "CMakeLists.txt"
    for number, line in enumerate(lists.read_text().splitlines() if lists.exists() else [], 1):
        for other in re.findall(r"muster::(\w+)", line.split("#")[0]):
            if other in LAYERS and LAYERS.index(other) > LAYERS.index(layer):
                yield f"{layer}/CMakeLists.txt:{number}: links muster::{other}: {layer} is to the left of it"


def check(root: Path) -> list:
    offences = []
    for layer in LAYERS:
        folder = root / layer
        if not folder.is_dir():
            offences.append(f"{layer}: no such folder")
            continue
        torch_files = torch_sources(folder)
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".h", ".cpp", ".cc", ".cu", ".hpp"}:
                offences.extend(check_file(path, root, layer, torch_files))
        offences.extend(check_links(root, layer))
    return offences


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 64
    offences = check(Path(sys.argv[1]).resolve())
    print("\n".join(offences) if offences else "layers: ok")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
