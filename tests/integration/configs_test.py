"""Every shipped configuration trains, evaluates and verifies on generated rows of the right shape (fashion_mnist_test has the
real ones)."""

import sys

import muster_runs as m

sys.path.insert(0, str(m.SOURCE / "tests/docs"))
import config_doc


def generated(kind, rows, out, partitions=4):
    m.run("generate", kind, "--rows", rows, "--partitions", partitions, "--seed", 2, "--out", out)
    m.run("validate", out)
    return out


def main():
    with m.Scratch() as scratch:
        data = {"card-fraud": generated("card-fraud", 20000, scratch / "card-fraud"),
                "fashion-mnist": generated("images", 6000, scratch / "fashion-mnist")}
        configs = sorted((m.SOURCE / "configs").glob("*.yaml"))
        m.check(len(configs) >= 3, f"configurations: {configs}")
        for file in configs:
            dataset = [path for name, path in data.items() if file.stem.startswith(name)]
            m.check(len(dataset) == 1, f"no data for {file.name}: add it here")
            result = m.run_json("train", file, "--set", f"data.dataset={dataset[0]}", "--set", f"run.dir={scratch / 'runs'}",
                                "--set", "train.epochs=~", "--set", "train.steps=12", ranks=2)
            m.check(result["outcome"] == "finished" and result["metrics"], f"{file.name}: {result}")
            m.run("verify", result["directory"])
            m.run_json("evaluate", result["directory"], "--split", "validation", ranks=2)
    print(f"{len(configs)} configurations")


def check_page():
    page = m.SOURCE / "docs/config.md"
    m.check(page.read_text() == config_doc.with_table(page.read_text(), m.MUSTER),
            f"docs/config.md lists other keys: python3 tests/docs/config_doc.py {m.MUSTER} docs/config.md")


check_page()
main()
