"""Random SIGKILL and resume schedules over 1 to 5 ranks under the real mpirun: the running digest equals the undisturbed run's,
every epoch uses every row once, and with an unchanged number of ranks the final tensors are the same bits."""

import json
import random

import muster_runs as m

ROWS = 20000
STEPS = 400
MARGIN = 100  # steps a killed run still had to do: a second or so, so that it cannot end before the kill
BATCH = {"size": 48, "lanes": 16, "window": 3}  # no power of two: a division rounds


def config(scratch, name, **extra):
    sections = dict(run={"name": name, "dir": str(scratch / "runs"), "seed": 7},
                    data={"dataset": str(scratch / "data")},
                    model={"name": "mlp", "hidden": [512, 640], "dropout": 0.2},
                    loss={"kind": "binary"}, batch=BATCH, train={"steps": STEPS, "threads": 1},
                    evaluate={"every_steps": 50}, checkpoint={"every_steps": 20, "every_seconds": 0, "keep": 3},
                    log={"every_steps": 20})
    sections.update(extra)
    return m.write_config(scratch / f"{name}.yaml", **sections)


def tensors(scratch, result):
    """SHA-256 of each file with tensors, from the last checkpoint's manifest."""
    manifest = json.loads((scratch_path(result) / "manifest.json").read_text())
    return {name: entry["sha256"] for name, entry in manifest["files"].items() if name.endswith(".safetensors")}


def scratch_path(result):
    import pathlib
    return pathlib.Path(result["directory"]) / "checkpoints" / result["checkpoint"]


def check_epochs(directory, rows):
    """Of each whole epoch the event of its last step says that all rows were used."""
    used = {}
    last = {}
    for event in m.events(directory):
        if event["event"] == "step":
            used[event["epoch"]] = event["epoch_rows"]
            last[event["epoch"]] = event["step"]
    for epoch, count in used.items():
        if epoch < max(used):
            m.check(count == rows, f"epoch {epoch} used {count} rows of {rows}")


def buckets(result):
    """How many buckets of gradients the last checkpoint's plan has, and whether it was re-made from an observed order."""
    plan = json.loads((scratch_path(result) / "manifest.json").read_text())["state"]["bucket_plan"]
    return len(plan["buckets"]), plan["observed"]


def disturbed(scratch, name, schedule, hit, dice):
    """Runs through (ranks, step to kill after, or None to let it end) until it is finished; returns the result."""
    file = config(scratch, name)
    directory = scratch / "runs" / name
    for ranks, kill_after in schedule:
        if kill_after is None:
            return m.run_json("train", file, ranks=ranks)
        process = m.start("train", file, ranks=ranks)
        if m.wait_for_step(process, directory, kill_after):
            hit["another rank killed"] += m.kill_a_rank(process, directory, dice)
        process.communicate()
        m.check(process.returncode != 0, f"{name}: killed at step {kill_after}, and mpirun left with 0")
    raise AssertionError("a schedule ends with None")


def main():
    dice = random.Random(11)
    hit = {"other ranks": 0, "same ranks": 0, "killed before re-planning": 0, "killed twice": 0, "another rank killed": 0}
    with m.Scratch() as scratch:
        m.run("generate", "card-fraud", "--rows", ROWS, "--partitions", 5, "--seed", 3, "--out", scratch / "data")
        m.run("validate", scratch / "data")
        references = {}
        for ranks in (1, 2, 3):
            references[ranks] = m.run_json("train", config(scratch, f"undisturbed-{ranks}"), ranks=ranks)
        reference = references[2]
        rows = reference["plan"]["rows"]
        m.check(buckets(reference)[0] > 1 and buckets(reference)[1], f"several buckets, re-planned: {buckets(reference)}")
        for ranks in (1, 3):
            m.check(references[ranks]["running_digest"] == reference["running_digest"], f"{ranks} ranks saw other batches")

        for number in range(12 if m.FULL else 2):
            schedule = []
            step = 0
            for _ in range(dice.randint(1, 3)):
                step += dice.randint(1, 90)
                schedule.append((dice.randint(1, 5), min(step, STEPS - MARGIN)))
            schedule.append((dice.randint(1, 5), None))
            hit["other ranks"] += len({ranks for ranks, _ in schedule}) > 1
            hit["killed twice"] += len(schedule) > 2
            result = disturbed(scratch, f"elastic-{number}", schedule, hit, dice)
            m.check(result["running_digest"] == reference["running_digest"], f"schedule {schedule}: other global batches")
            check_epochs(result["directory"], rows)

        for ranks in (1, 2, 3):
            for kill_after in ((1, 30, 120, 199) if m.FULL else (1, 120)):
                hit["same ranks"] += 1
                result = disturbed(scratch, f"same-{ranks}-{kill_after}", [(ranks, kill_after), (ranks, None)], hit, dice)
                resumed = [event["step"] for event in m.events(result["directory"]) if event["event"] == "resumed"]
                hit["killed before re-planning"] += resumed[0] == 0  # step 0 is committed with the first plan
                m.check(tensors(scratch, result) == tensors(scratch, references[ranks]),
                        f"{ranks} ranks killed after step {kill_after}: other bits")
    print(", ".join(f"{edge}: {count}" for edge, count in hit.items()))
    m.check(all(hit.values()), "an edge was never hit")


main()
