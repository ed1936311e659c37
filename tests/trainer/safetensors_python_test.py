#!/usr/bin/env python3
"""Python's safetensors opens what we write, and we read what it writes.

usage: safetensors_python_test.py PROGRAM DEPS. Uses the first environment that has the packages: the one setup.sh --tests
makes (DEPS/python), else DEPS/venv, made here. Where none can be had (no network), exits with 77: skipped.
"""
import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PACKAGES = ["safetensors==0.8.0", "numpy==2.4.6"]
TYPES = {"float32": "F32", "float64": "F64", "int64": "I64", "int32": "I32", "uint8": "U8", "bool": "BOOL",
         "float16": "F16"}


def has_packages(python):
    return python.exists() and subprocess.run([python, "-c", "import safetensors.numpy"], capture_output=True).returncode == 0


def environment(deps):
    for name in ("python", "venv"):
        if has_packages(deps / name / "bin" / "python"):
            return deps / name / "bin" / "python"
    try:
        venv.create(deps / "venv", with_pip=True, clear=True)
        python = deps / "venv" / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
        return python
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"skipped: no Python environment with {' '.join(PACKAGES)}: {error}")
        sys.exit(77)


def described(name, array):
    shape = "".join(f"{dimension}," for dimension in array.shape)
    return f"{name} {TYPES[str(array.dtype)]} [{shape}] {hashlib.sha256(array.tobytes()).hexdigest()}"


def run(program, action, path):
    result = subprocess.run([program, action, path], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{program} {action}: {result.stderr}")
    return sorted(result.stdout.splitlines())


def compare(what, ours, theirs):
    if ours != theirs:
        sys.exit(f"{what}:\n  we say      {ours}\n  Python says {theirs}")
    print(f"{what}: {len(ours)} tensors agree")


def check(program):
    import numpy
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "ours.safetensors")
        ours = run(program, "write", path)
        compare("written by us", ours, sorted(described(*item) for item in load_file(path).items()))
        with safe_open(path, "numpy") as file:
            if file.metadata() != {"format": "pt"}:
                sys.exit(f"metadata is {file.metadata()}")
        compare("written and read by us", ours, run(program, "read", path))

        random = numpy.random.default_rng(5)
        tensors = {f"t.{name}.{rank}": random.integers(0, 2, size=(rank + 1,) * rank).astype(name)
                   for name in TYPES for rank in range(4)}
        tensors["empty"] = numpy.zeros((0, 7), "float32")
        path = os.path.join(folder, "theirs.safetensors")
        save_file(tensors, path, metadata={"who": "python", "ü": "\"\\"})
        compare("written by Python", run(program, "read", path), sorted(described(*item) for item in tensors.items()))


def main():
    program, deps = sys.argv[1], Path(sys.argv[2])
    try:
        import safetensors.numpy  # noqa: F401
    except ImportError:
        if len(sys.argv) > 3:
            raise
        python = environment(deps)
        sys.exit(subprocess.run([python, __file__, program, deps, "again"]).returncode)
    check(program)


if __name__ == "__main__":
    main()
