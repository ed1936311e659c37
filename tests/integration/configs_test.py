"""Every shipped configuration trains, evaluates and verifies on generated rows of the right shape (fashion_mnist_test has the
real ones)."""

import os
import shutil
import subprocess
import sys

import muster_runs as m

sys.path.insert(0, str(m.SOURCE / "tests/docs"))
import config_doc


# What makes a configuration fit a small machine and a few seconds, as shorter windows do; all else is as it is shipped.
SMALLER = {"gpt-124M": ["model.layers=2", "model.width=48", "model.heads=4", "batch.size=4", "batch.lanes=4", "train.micro_batch=1",
                        "evaluate.micro_batch=1"]}
PARAMETERS = {"gpt-124M": 124439808}  # of the whole one


def generated(kind, rows, out, *more, partitions=4, change=("", "")):
    m.run("generate", kind, "--rows", rows, "--partitions", partitions, "--seed", 2, "--out", out, *more)
    contract = out / "contract.yaml"
    contract.write_text(contract.read_text().replace(*change))
    m.run("validate", out)
    return out


def prepared(name, scratch):
    """The example's data from the real files where they are at hand, else None."""
    environment = {"MUSTER": m.MUSTER, **os.environ}
    for part in ("examples", "configs"):
        if not (scratch / part).exists():
            shutil.copytree(m.SOURCE / part, scratch / part)
    m.check((scratch / "examples" / name / "prepare.sh").exists(), f"{name}.yaml has no data here and no examples/{name}/prepare.sh")
    done = subprocess.run(["bash", scratch / "examples" / name / "prepare.sh"], env=environment, capture_output=True, text=True, check=False)
    if "or set MUSTER_DATA" in done.stderr:  # the file is not there
        return None
    m.check(done.returncode == 0, f"prepare.sh of {name}: {done.stderr}")
    return scratch / "data" / name


def main():
    with m.Scratch() as scratch:
        data = {"card-fraud": generated("card-fraud", 20000, scratch / "card-fraud"),
                "fashion-mnist": generated("images", 6000, scratch / "fashion-mnist"),
                "fields": generated("fields", 400, scratch / "fields", "--shape", "17,24"),
                "gpt-124M": generated("subwords", 8000, scratch / "subwords", change=("length: 1024, stride: 1024", "length: 64, stride: 64"))}
        if "MUSTER_DATA" not in os.environ:
            data["tiny-shakespeare"] = generated("tokens", 40000, scratch / "tokens")
        configs = sorted((m.SOURCE / "configs").glob("*.yaml"))
        m.check(len(configs) >= 3, f"configurations: {configs}")
        tried = 0
        for file in configs:
            dataset = [path for name, path in data.items() if file.stem.startswith(name)]
            if not dataset and "MUSTER_DATA" in os.environ:
                dataset = [prepared(file.stem, scratch)]
            if not any(dataset):
                print(f"{file.name}: not run, its data are not here (MUSTER_DATA)")
                continue
            m.check(len(dataset) == 1, f"no data for {file.name}: add it here")
            tried += 1
            if file.stem in PARAMETERS:
                plan = m.run_json("train", file, "--set", f"data.dataset={dataset[0]}", "--dry-run")
                m.check(plan["parameters"] == PARAMETERS[file.stem], f"{file.name}: {plan['parameters']} parameters")
            sets = [f"data.dataset={dataset[0]}", f"run.dir={scratch / 'runs'}", "train.epochs=~", "train.steps=12", *SMALLER.get(file.stem, [])]
            result = m.run_json("train", file, *[word for value in sets for word in ("--set", value)], ranks=2)
            m.check(result["outcome"] == "finished" and result["metrics"], f"{file.name}: {result}")
            m.run("verify", result["directory"])
            m.run_json("evaluate", result["directory"], "--split", "validation", ranks=2)
        m.check(tried >= 3, "too few were tried")
    print(f"{tried} of {len(configs)} configurations")


def check_page():
    page = m.SOURCE / "docs/config.md"
    m.check(page.read_text() == config_doc.with_table(page.read_text(), m.MUSTER),
            f"docs/config.md lists other keys: python3 tests/docs/config_doc.py {m.MUSTER} docs/config.md")


check_page()
main()
