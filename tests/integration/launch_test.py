"""muster launch: a signal at any moment from its first line on ends with 75 and loses no step; what fails is started again, what fails
twice in the same way is not; exit codes are ours."""

import json
import os
import random
import signal
import subprocess
import time

import muster_runs as m

STEPS = 3000


def start(config, *options, ranks=2):
    return subprocess.Popen([m.MUSTER, "launch", "-n", str(ranks), *map(str, options), str(config)], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def committed(directory):
    return max([e["step"] for e in m.events(directory) if e["event"] == "checkpoint_committed"], default=0) if (
        directory / "events.jsonl").exists() else 0


def signalled(scratch, config, hit, dice):
    """One signal at a random moment; the run goes on from the last step that was done."""
    directory = scratch / "runs" / "signalled"
    process = start(config)
    first = process.stdout.readline()
    m.check(first.startswith("launch: 2 ranks on "), f"its first line: {first}")
    wait = dice.choice([dice.uniform(0, 0.3), dice.uniform(0, 1.5), dice.uniform(0.5, 3)])
    time.sleep(wait)
    kind = dice.choice([signal.SIGTERM, signal.SIGUSR1])
    process.send_signal(kind)
    output, _ = process.communicate(timeout=120)
    events = m.events(directory)
    steps = [e["step"] for e in events if e["event"] == "step"]
    where = f"{kind.name} after {wait:.2f} s"
    m.check(process.returncode == 75, f"{where}: ended with {process.returncode}, not 75:\n{output}")
    if not events:  # while the pipeline was fitted: there is no run yet
        m.check("nothing is lost" in output, f"{where}: {output}")
        return
    last = events[-1]
    m.check(last["event"] == "stopped" and last["step"] == max(steps, default=0), f"{where}: {last}")
    m.check(committed(directory) == last["step"], f"{where}: committed {committed(directory)}, done {last['step']}")
    hit["before the first step" if last["step"] <= hit["_step"] + 1 else "between steps"] += 1
    hit["_step"] = last["step"]


def main():
    dice = random.Random(3)
    hit = {"before the first step": 0, "between steps": 0, "_step": 0}
    with m.Scratch() as scratch:
        m.run("generate", "tabular", "--rows", 20000, "--partitions", 4, "--seed", 5, "--out", scratch / "data")
        m.run("validate", scratch / "data")

        def config(name, steps=STEPS, **extra):
            sections = dict(run={"name": name, "dir": str(scratch / "runs")}, data={"dataset": str(scratch / "data")},
                            model={"name": "mlp", "hidden": [64]}, batch={"size": 64, "lanes": 8, "window": 2},
                            train={"steps": steps, "threads": 1}, evaluate={"every_steps": 200},
                            checkpoint={"every_steps": 50, "every_seconds": 0}, log={"tensorboard": False})
            sections.update(extra)
            return m.write_config(scratch / f"{name}.yaml", **sections)

        dry = m.run("launch", "-n", 3, "--dry-run", config("dry"), "--set", "train.steps=5").stdout
        m.check("-np 3" in dry and "train.steps=5" in dry and not (scratch / "runs").exists(), dry)

        reference = m.run_json("train", config("undisturbed"), ranks=2)
        file = config("signalled", steps=10**6)
        for _ in range(100 if m.FULL else 10):
            signalled(scratch, file, hit, dice)

        for name in ("again", "again-2"):
            m.run("launch", "-n", 1, config("again", steps=20), "--resume", "never")
            m.check((scratch / "runs" / name / "metrics.json").exists(), f"--resume never: no {name}")

        # Killed ranks: started again until it is done, with the same batches.
        directory = scratch / "runs" / "killed"
        process = start(config("killed"), "--restarts", 5)
        m.check(m.wait_for_step(process, directory, 100), "it ended before step 100")
        m.kill_a_rank(m.children(process.pid)[0], directory, dice)
        while not [e for e in m.events(directory) if e["event"] == "resumed"]:
            time.sleep(0.01)
        m.check(m.wait_for_step(process, directory, 900), "it ended before step 900")
        os.kill(m.children(process.pid)[0], signal.SIGKILL)  # mpirun itself
        output, _ = process.communicate(timeout=300)
        m.check(process.returncode == 0, f"ended with {process.returncode}:\n{output}")
        m.check(output.count("the next start is in") == 2, output)
        digest = [e for e in m.events(directory) if e["event"] == "run_finished"][-1]["running_digest"]
        m.check(digest == reference["running_digest"], "killed and started again: other batches")

        # The same failure twice.
        broken = config("broken", steps=50, optimizer={"name": "sgd", "learning_rate": 1e30})
        process = start(broken, "--restarts", 5)
        output, _ = process.communicate(timeout=120)
        m.check(process.returncode == 65 and "not started again" not in output, f"65 is final: {process.returncode}\n{output}")
        blocked = config("blocked", steps=50)
        (scratch / "runs" / "blocked").mkdir(parents=True)
        (scratch / "runs" / "blocked" / "checkpoints").write_text("in the way")
        process = start(blocked, "--restarts", 5)
        output, _ = process.communicate(timeout=120)
        m.check(process.returncode == 74 and "failed twice in the same way" in output, f"{process.returncode}\n{output}")

        missing = m.run("launch", "-n", 2, scratch / "none.yaml", expect=78).stderr
        m.check("none.yaml" in missing and missing.count("\n") == 1, f"a missing config is one line that names it: {missing}")
        wrong = m.run("launch", "--restart", 5, file, expect=64).stderr
        m.check("--restart" in wrong and "--restarts" in wrong and wrong.count("\n") == 1, f"a misspelled option: {wrong}")
        m.check(m.run("launch", "--mpirun", "/no/mpirun", "-n", 2, file, expect=78).stderr.count("\n") == 1, "a missing mpirun")
    del hit["_step"]
    print(", ".join(f"{edge}: {count}" for edge, count in hit.items()))
    m.check(all(hit.values()), "an edge was never hit")


main()
