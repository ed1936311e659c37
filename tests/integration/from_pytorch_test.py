"""docs/from-pytorch.md, as a reader would: every ```bash block in one shell, none may fail. Where there is no Python with torch, what its
blocks made before (tests/pytorch/kept) takes their place; where there is one, that must be what they make now."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import muster_runs as m

KEPT = {"start.safetensors": "port-start.safetensors", "losses.json": "port-losses.json"}


def python_with_torch():
    """The folder of a Python that has what the example imports, or None."""
    python = pathlib.Path(os.environ.get("DDP_PYTHON", m.SOURCE / "build/deps/ddp/bin/python"))
    has = python.exists() and subprocess.run([python, "-c", "import torch, h5py, safetensors"], capture_output=True, check=False).returncode == 0
    return python.parent if has else None


def relative_difference(a, b):
    return max(abs(x - y) / abs(y) for x, y in zip(a, b, strict=True))


def check_excerpt(text):
    script = (m.SOURCE / "examples/from-pytorch/train.py").read_text()
    (excerpt,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    for line in excerpt.splitlines():
        m.check(f"\n{line}\n" in script, f"train.py has no such line: {line}")


def main():
    text = (m.SOURCE / "docs/from-pytorch.md").read_text()
    check_excerpt(text)
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.M | re.S)
    m.check(len(blocks) >= 6, f"{len(blocks)} blocks")
    torch = python_with_torch()
    kept = m.SOURCE / "tests/pytorch/kept"
    copies = "\n".join(f"cp {shlex.quote(str(kept / theirs))} {ours}" for ours, theirs in KEPT.items())
    script = "set -euo pipefail\n"
    for i, block in enumerate(blocks, 1):
        needs_torch = block.startswith("# PyTorch\n")
        script += f"echo '== block {i}'\n" + (copies if needs_torch and torch is None else block) + "\n"
    path = [os.path.dirname(m.MUSTER), os.environ["PATH"]]
    with m.Scratch() as scratch:
        shutil.copytree(m.SOURCE / "examples/from-pytorch", scratch / "examples/from-pytorch")
        environment = dict(m.ENVIRONMENT, PATH=":".join([path[0], *([str(torch)] if torch else []), path[1]]), OMP_NUM_THREADS="1")
        done = subprocess.run(["bash", "-c", script], cwd=scratch, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False, timeout=280)
        m.check(done.returncode == 0, f"ends with {done.returncode}:\n{done.stdout[-3000:]}")
        for says in ("transform: ids", "28 of 28 tensors from", "26 of 28 tensors from", "random, as model.init_except says: norm.weight, norm.bias",
                     "are trained", "largest relative difference"):
            m.check(says in done.stdout, f"'{says}' in the output:\n{done.stdout[-6000:]}")

        ours = [event["loss"] for event in m.events(scratch / "runs/stream") if event["event"] == "step"]
        theirs = json.loads((kept / KEPT["losses.json"]).read_text())["losses"]
        print(f"losses {ours[0]:.4f} to {ours[-1]:.4f}; relative difference to PyTorch's: {relative_difference(ours[:20], theirs[:20]):.1e} in "
              f"the first 20 steps, {relative_difference(ours, theirs):.1e} in all")
        m.check(len(ours) == 200 and ours[-1] < 0.9 * ours[0], f"learnt: {ours}")
        m.check(relative_difference(ours[:20], theirs[:20]) <= 1e-4, "the first losses differ")
        m.check(relative_difference([sum(ours[-20:])], [sum(theirs[-20:])]) <= 0.005, "the last losses differ")
        evaluated = m.run_json("evaluate", scratch / "runs/tuned", "--split", "validation", "--data", scratch / "data/other")["metrics"]["loss"]
        if torch is None:
            print("no Python with torch: its blocks were not run")
            return
        now = json.loads((scratch / "losses.json").read_text())["losses"]
        m.check(relative_difference(now, theirs) <= 1e-4, "PyTorch makes other losses than those kept: keep them anew (tests/pytorch/README.md)")
        (back,) = re.findall(r"^PyTorch: loss ([0-9.]+) over", done.stdout, re.M)
        print(f"validation loss {evaluated} here, {back} in PyTorch")
        m.check(abs(float(back) / evaluated - 1) <= 1e-5, f"PyTorch evaluates otherwise: {back}, {evaluated}")


main()
