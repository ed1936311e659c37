"""TensorBoard's own reader reads what a run on two ranks leaves: every number as in events.jsonl, each step once although the run was killed
in the middle of an epoch and resumed, histograms of the checkpoint's weights and of the reduced gradients, the config as text."""

import collections
import json
import math
import random
import struct
import subprocess
import sys

import muster_runs as m

PYTHON = m.SOURCE / "build/deps/python/bin/python"
STEPS = 400
EVERY = 4
RATE = 0.05


def read(directory):
    done = subprocess.run([PYTHON, m.SOURCE / "tests/integration/read_tensorboard.py", directory], capture_output=True, text=True,
                          check=False)
    m.check(done.returncode == 0, f"the reader fails: {done.stderr}")
    return json.loads(done.stdout)


def files(directory):
    return sorted(directory.glob("events.out.tfevents.*"))


def single(number):
    """As TensorBoard's scalars are stored: 32 bits."""
    return struct.unpack("f", struct.pack("f", number))[0]


def near(one, other, tolerance):
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)


def main():
    if not PYTHON.exists() or subprocess.run([PYTHON, "-c", "import tensorboard"], capture_output=True, check=False).returncode:
        print("no TensorBoard in build/deps/python (setup.sh --tests installs it): skipped")
        sys.exit(77)
    with m.Scratch() as scratch:
        m.run("generate", "card-fraud", "--rows", 20000, "--partitions", 4, "--seed", 3, "--out", scratch / "data")
        m.run("validate", scratch / "data")

        def config(name, **log):
            return m.write_config(scratch / f"{name}.yaml", run={"name": name, "dir": str(scratch / "runs")},
                                  data={"dataset": str(scratch / "data")}, model={"name": "mlp", "hidden": [256, 256]},
                                  loss={"kind": "binary"}, optimizer={"name": "sgd", "learning_rate": RATE},
                                  batch={"size": 64, "lanes": 8, "window": 2}, train={"steps": STEPS, "threads": 1},
                                  evaluate={"every_steps": 60, "best_by": "loss"}, checkpoint={"every_steps": 50, "every_seconds": 0},
                                  log={"every_steps": EVERY, **log})

        directory = killed_and_resumed(scratch, config)
        seen = read(directory)
        scalars(directory, seen)
        histograms(directory, seen)
        text(directory, seen)
        checksum(directory)
        choices(scratch, config)


def killed_and_resumed(scratch, config):
    """A run killed in mid-epoch behind its last checkpoint, when it had logged steps that the next start undoes."""
    dice = random.Random(5)
    for attempt in range(10):
        directory = scratch / "runs" / f"killed-{attempt}"
        file = config(directory.name, histograms_every_steps=1)
        process = m.start("train", file, ranks=2)
        if m.wait_for_step(process, directory, 70 + 13 * attempt):
            m.kill_a_rank(process, directory, dice)
        process.communicate()
        before = read(directory)["scalars"]
        result = m.run_json("train", file, ranks=2)
        resumed = [event["step"] for event in m.events(directory) if event["event"] == "resumed"]
        undone = [step for step, _ in before["step/loss"] if resumed and step > resumed[0]]
        if undone and resumed[0] % result["plan"]["steps_per_epoch"]:
            print(f"killed behind step {undone[-1]}, resumed at {resumed[0]}: {len(undone)} logged steps undone")
            m.check(len(files(directory)) == 2, f"one file a start, by rank 0 alone: {files(directory)}")
            return directory
    sys.exit("FAILED: no kill left steps behind that were logged and undone")


def valid_events(directory):
    """As docs/events.md tells a reader: without what a resume undid."""
    found = m.events(directory)
    resumes = [event for event in found if event["event"] == "resumed"]
    return [event for event in found
            if not any(event["generation"] < r["generation"] and event["step"] > r["step"] for r in resumes)]


def scalars(directory, seen):
    wanted = collections.defaultdict(list)
    for event in valid_events(directory):
        if event["event"] == "step" and event["step"] % EVERY == 0:
            for key in ("loss", "learning_rate", "gradient_norm"):
                wanted[f"step/{key}"].append([event["step"], single(event[key])])
        elif event["event"] == "evaluated":
            for key, value in event["metrics"].items():
                if isinstance(value, (int, float)):
                    wanted[f"{event['split']}/{key}"].append([event["step"], single(value)])
    m.check("validation/auc" in wanted and len(wanted["validation/auc"]) == -(-STEPS // 60), f"events: {dict(wanted)}")
    speed = {f"speed/{key}" for key in ("samples_per_second", "data_wait_share", "communication_wait_share", "flops_per_second")}
    m.check(set(seen["scalars"]) == set(wanted) | speed, f"tags: {set(seen['scalars']) ^ set(wanted) ^ speed}")
    for tag, values in wanted.items():
        m.check(seen["scalars"][tag] == values, f"{tag}: TensorBoard sees {seen['scalars'][tag]}, the events say {values}")
    steps = list(range(EVERY, STEPS + 1, EVERY))
    for tag in ("step/loss", *speed):
        m.check([step for step, _ in seen["scalars"][tag]] == steps, f"{tag}: each step once: {seen['scalars'][tag]}")
        m.check(seen["kept"][tag] == steps, f"{tag}, on the web pages: {seen['kept'][tag]}")
    m.check(all(value > 0 for _, value in seen["scalars"]["speed/samples_per_second"]), "samples are trained on")
    for tag in ("speed/data_wait_share", "speed/communication_wait_share"):
        m.check(all(0 <= value <= 1 for _, value in seen["scalars"][tag]), f"{tag} is a share: {seen['scalars'][tag]}")
    m.check(len(seen["written"]["step/loss"]) > len(steps), "without its purging there would be steps twice")


def bounds(limits):
    """TensorFlow's default limits, made here by themselves: the written ones are among them."""
    positive, limit = [], 1e-12
    while limit < 1e20:
        positive.append(limit)
        limit *= 1.1
    known = {0.0, sys.float_info.max, -sys.float_info.max, *positive, *(-limit for limit in positive)}
    return set(limits) <= known and limits == sorted(limits)


def histograms(directory, seen):
    tags = seen["histograms"]
    checkpoint = sorted((directory / "checkpoints").glob(f"g0002-step-{STEPS:08}"))[-1]
    program = ("import sys, json\nfrom safetensors.numpy import load_file\n"
               "print(json.dumps({n: t.ravel().tolist() for n, t in load_file(sys.argv[1]).items()}))")
    weights = json.loads(subprocess.run([PYTHON, "-c", program, next(checkpoint.glob("model-*.safetensors"))], capture_output=True,
                                        text=True, check=True).stdout)
    m.check(set(tags) == {f"{kind}/{name}" for kind in ("weights", "gradients") for name in weights}, f"tags: {set(tags)}")
    for name, values in weights.items():
        step, last = tags[f"weights/{name}"][-1]
        m.check(step == STEPS and last["num"] == len(values) and last["min"] == min(values) and last["max"] == max(values),
                f"weights/{name} at step {step}: {last}")
        m.check(near(last["sum"], math.fsum(values), 1e-9) and near(last["sum_squares"], math.fsum(v * v for v in values), 1e-9),
                f"weights/{name}: sums")
        counts = [0] * len(last["bucket"])
        for value in values:
            counts[next(i for i, limit in enumerate(last["bucket_limit"]) if limit > value)] += 1
        m.check(counts == last["bucket"] and bounds(last["bucket_limit"]), f"weights/{name}: {last['bucket']}, not {counts}")
    norms = dict(seen["scalars"]["step/gradient_norm"])
    for step in range(EVERY, STEPS + 1, EVERY):
        squares = 0
        for name in weights:
            steps = [number for number, _ in tags[f"gradients/{name}"]]
            m.check(steps == list(range(1, STEPS + 1)), f"gradients/{name}: each step once: {steps}")
            gradient = tags[f"gradients/{name}"][step - 1][1]
            before, after = (tags[f"weights/{name}"][number - 1][1]["sum"] for number in (step - 1, step))
            # Plain SGD: what the weights' sum lost is the rate times the reduced gradients' sum, not one rank's.
            m.check(abs(before - after - RATE * gradient["sum"]) < 4e-6,  # 7 times what the weights' roundings make
                    f"step {step}, {name}: the sum of weights went from {before} to {after}, that of gradients is {gradient['sum']}")
            squares += gradient["sum_squares"]
        m.check(near(squares ** 0.5, norms[step], 1e-5), f"step {step}: the gradients' norm is {squares ** 0.5}, not {norms[step]}")
    m.check(all(seen["kept"][tag] == list(range(1, STEPS + 1)) for tag in tags), "histograms on the web pages: each step once")


def text(directory, seen):
    resumed = next(event["step"] for event in m.events(directory) if event["event"] == "resumed")
    m.check(set(seen["texts"]) == {"config"}, f"texts: {set(seen['texts'])}")
    shown = seen["texts"]["config"]
    m.check([step for step, _ in shown] == [1, resumed + 1], f"one at the first step of each start: {[step for step, _ in shown]}")
    lines = shown[-1][1].splitlines()
    m.check(all(line.startswith("    ") for line in lines), f"a Markdown block of code: {lines}")
    plain = "\n".join(line[4:] for line in lines).strip()
    m.check(plain == (directory / "config.yaml").read_text().strip(), f"the config: {plain}")


def checksum(directory):
    """The reader checks the records: behind a flipped bit it reads no further. So it checked all that was read above."""
    last = files(directory)[-1]
    whole = last.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) * 3 // 4] ^= 1
    last.write_bytes(damaged)
    steps = read(directory)["kept"]["step/loss"]
    last.write_bytes(whole)
    m.check(steps and steps[-1] < STEPS and steps == list(range(EVERY, steps[-1] + 1, EVERY)), f"behind a flipped bit: {steps}")


def choices(scratch, config):
    """No histograms by default; no file where none is wanted; both may change on a resume."""
    few = ("--set", "train.steps=8", "--allow", "train.steps", "--allow", "schedule.horizon")
    m.run("train", config("plain"), "--set", "train.steps=4", ranks=2)
    directory = scratch / "runs" / "plain"
    seen = read(directory)
    m.check(seen["histograms"] == {} and len(seen["scalars"]["step/loss"]) == 1, f"by default: {seen}")
    m.run("train", config("plain"), "--set", "log.tensorboard=false", *few, ranks=2)
    m.check(len(files(directory)) == 1, "log.tensorboard: false writes no file")
    m.run("train", config("none"), "--set", "train.steps=4", "--set", "log.tensorboard=false", ranks=2)
    m.check(files(scratch / "runs" / "none") == [], "nor at a first start")


main()
