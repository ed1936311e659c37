"""Bad input: each gives one line that says what to do, the right exit code, and nothing that was there is overwritten."""

import json
import os
import pathlib
import shlex
import shutil
import subprocess

import muster_runs as m


def content(directory):
    """Every file below a directory with its bytes."""
    return {path: path.read_bytes() for path in sorted(pathlib.Path(directory).rglob("*")) if path.is_file()}


def main():
    with m.Scratch() as scratch:
        data = scratch / "data"
        m.run("generate", "tabular", "--rows", 6000, "--partitions", 3, "--seed", 5, "--out", data)
        m.run("validate", data)
        base = dict(run={"name": "run", "dir": str(scratch / "runs")}, data={"dataset": str(data)},
                    model={"name": "mlp", "hidden": [8]}, batch={"size": 48, "lanes": 6, "window": 2},
                    train={"steps": 40, "threads": 1}, checkpoint={"every_steps": 10})

        def config(**sections):
            merged = {key: dict(value) for key, value in base.items()}
            for section, values in sections.items():
                merged.setdefault(section, {}).update(values)
            return m.write_config(scratch / "config.yaml", **merged)

        tried = 0

        def refused(code, *words, arguments, ranks=0, environment=None):
            """Runs and expects the code, one line of ours on stderr with all the words, and no change on disk."""
            nonlocal tried
            tried += 1
            before = content(scratch)
            done = m.run(*arguments, ranks=ranks, expect=code, timeout=120, environment=environment)
            lines = [line for line in done.stderr.splitlines() if line.startswith("muster:")]
            m.check(len(lines) == 1, f"{arguments}: one line, not {lines or done.stderr}")
            for word in words:
                m.check(word in lines[0], f"{arguments}: '{word}' in: {lines[0]}")
            m.check(content(scratch) == before, f"{arguments}: something was overwritten")

        def train(**sections):
            return ("train", config(**sections))

        # Command line and config.
        refused(64, "--help", arguments=("frobnicate",))
        refused(64, "--rows", arguments=("generate", "tabular", "--out", scratch / "new"))
        refused(78, "epocks", "epochs", "config.yaml:", arguments=train(train={"epocks": 2}))
        refused(78, "integer", "many", "config.yaml:", arguments=train(batch={"size": "many"}))
        refused(78, "no-such.yaml", arguments=("train", scratch / "no-such.yaml"))
        refused(78, "mlp", arguments=train(model={"name": "mpl"}))
        refused(78, "not divisible", arguments=train(batch={"lanes": 7}))
        refused(78, "loader.memory", arguments=train(loader={"memory": "10 KB"}))
        refused(78, "6", "lanes", arguments=train(), ranks=7)
        refused(78, "nowhere", arguments=train(data={"dataset": str(scratch / "nowhere")}))
        refused(78, "no such", arguments=train(data={"features": ["no such"]}))
        refused(78, "validaton", "did you mean 'validation'", arguments=train(evaluate={"split": "validaton"}))
        refused(78, "never reads the test split", arguments=train(evaluate={"split": "test"}))

        refused(78, "pos_weight", arguments=train(loss={"kind": "binary", "pos_weight": 0}))
        refused(78, "memory", arguments=train(model={"hidden": [2000000, 2000000]}))
        refused(78, "7", "lanes", arguments=("order", config(), "--world", 7))
        refused(64, "--rows", arguments=("bench", "step", "--rows", 0))
        refused(64, "--shape", arguments=("bench", "step", "--shape", "-3"))
        refused(78, "hidden", arguments=("bench", "step", "--options", "{hidden: [-3]}"))
        refused(78, "--options:1:2", arguments=("bench", "step", "--options", "{hiden: [3]}"))
        refused(78, "did you mean 'mlp'", arguments=("bench", "step", "--model", "mlpp"))
        refused(74, "the disk has", arguments=("generate", "tabular", "--rows", 10**19, "--out", scratch / "huge"))
        (scratch / "huge").rmdir()
        os.mkfifo(scratch / "pipe.yaml")
        refused(78, "pipe.yaml", arguments=("train", scratch / "pipe.yaml"))
        (scratch / "pipe.yaml").unlink()

        # Data.
        def broken(name):
            copy = scratch / name
            shutil.copytree(data, copy)
            return copy, sorted(copy.glob("*.h5"))[1]

        copy, part = broken("d1")
        part.write_text("<!DOCTYPE html><html><body>404</body></html>")
        refused_validate(copy, part, "is an HTML page")
        copy, part = broken("d2")
        part.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
        refused_validate(copy, part, "git lfs pull")
        copy, part = broken("d3")
        os.truncate(part, part.stat().st_size // 2)
        refused_validate(copy, part, "truncated")
        refused(65, part.name, "muster validate", arguments=train(data={"dataset": str(copy)}))
        copy, part = broken("d6")
        for name in ("manifest.json", "rows.bin", "index.bin"):
            good = (copy / name).read_bytes()
            (copy / name).write_bytes(good[: len(good) // 2])
            refused(65, name, f"muster validate {copy}", arguments=train(data={"dataset": str(copy)}))
            (copy / name).write_bytes(good)
        copy, part = broken("d4")  # the data have missing values; now the contract forbids them
        contract = copy / "contract.yaml"
        m.check("indicator" in contract.read_text(), "the generated contract marks missing values")
        contract.write_text(contract.read_text().replace("indicator", "forbid"))
        refused_validate(copy, sorted(copy.glob("*.h5"))[0], "forbids missing values")
        done = m.run("validate", copy, "--max-faults", 0, expect=65)
        m.check("nothing was written" in done.stderr, f"no fault is shown, but they count: {done.stderr}")
        copy, part = broken("d5")
        m.run("generate", "images", "--rows", 100, "--partitions", 1, "--out", scratch / "images")
        shutil.copy(next((scratch / "images").glob("*.h5")), part)
        refused_validate(copy, part, "there is no dataset")
        empty = scratch / "d7"
        empty.mkdir()
        shutil.copy(data / "contract.yaml", empty)
        refused(65, "no partition", arguments=("validate", empty))
        refused(78, "no such dataset", arguments=("validate", scratch / "nowhere"))
        refused(78, "muster validate", arguments=train(data={"dataset": str(empty)}))

        # Resuming another run.
        m.run("train", config(), ranks=2)
        refused(99, "finished", arguments=train())
        refused(78, "batch.size", "48", "96", arguments=train(batch={"size": 96}))
        refused(78, "batch.lanes", arguments=train(batch={"lanes": 3}))
        refused(78, "run.seed", arguments=train(run={"seed": 9}))
        refused(78, "--allow optimizer.learning_rate", arguments=train(optimizer={"learning_rate": 0.5}))
        other = scratch / "other"
        m.run("generate", "tabular", "--rows", 6000, "--partitions", 3, "--seed", 6, "--out", other)
        m.run("validate", other)
        refused(78, "fingerprint", arguments=train(data={"dataset": str(other)}))

        # Directories that cannot be written: below a file, so that it holds for root too.
        (scratch / "file").write_text("a file")
        refused(74, "file", arguments=train(run={"dir": str(scratch / "file" / "runs"), "name": "x"}))

        output(scratch, config)
        flipped_byte(scratch, config)
    print(f"{tried} bad inputs refused")


def refused_validate(directory, part, word):
    """validate names the partition and what is wrong, on lines of its own, and writes nothing."""
    before = content(directory)
    done = m.run("validate", directory, expect=65)
    lines = [line for line in done.stderr.splitlines() if part.name in line]
    m.check(word.lower() not in str(part).lower(), "the word is in the path: this would always hold")
    m.check(any(word.lower() in line.lower() for line in lines), f"validate {directory}: '{word}' in {lines or done.stderr}")
    m.check(content(directory) == before, "validate wrote although there were faults")


def output(scratch, config):
    """Where what is printed goes: a full device is an error, a closed descriptor is no file of the run's, one rank speaks."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(m.command("runs", scratch / "runs"), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    m.check(done.returncode == 74 and "standard output" in done.stderr, f"a full device: {done.returncode} {done.stderr}")
    line = shlex.join(m.command("train", config(run={"name": "closed"})))
    done = subprocess.run(["bash", "-c", line + " >&- 2>&- <&-"], env=m.ENVIRONMENT, check=False)
    m.check(done.returncode == 0, f"with closed descriptors: {done.returncode}")
    for text in (scratch / "runs" / "closed" / "events.jsonl").read_text().splitlines():
        json.loads(text)
    done = m.run("config", "--explain", "batch.lanes", ranks=3)
    m.check(done.stdout.count("batch.lanes") == 1, f"one rank speaks: {done.stdout}")


def flipped_byte(scratch, config):
    """A damaged newest checkpoint is passed over for the one before, and that is said."""
    file = config(run={"name": "flipped"}, checkpoint={"keep": 4})
    m.run("train", file, ranks=2)
    checkpoints = scratch / "runs" / "flipped" / "checkpoints"
    newest = sorted(path for path in checkpoints.iterdir() if path.name.startswith("g"))[-1]
    model = next(newest.glob("model-*.safetensors"))
    damaged = bytearray(model.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    model.write_bytes(damaged)
    m.run("verify", newest, expect=74)
    done = m.run("train", file, ranks=2)
    m.check(newest.name in done.stderr and model.name in done.stderr, f"the fall-back is said: {done.stderr}")
    kinds = [json.dumps(event) for event in m.events(scratch / "runs" / "flipped") if event["event"] == "checkpoint_rejected"]
    m.check(len(kinds) == 1 and newest.name in kinds[0], f"and recorded: {kinds}")


main()
