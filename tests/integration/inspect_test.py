"""What stands around a run: its lineage also where parents are gone, its weights in Python, metrics on any number of ranks, other data
under an evaluation, a run that was moved, directories of other programs among the runs, a console that goes away, generate's memory."""

import os
import shutil
import subprocess

import muster_runs as m


def main():
    with m.Scratch() as scratch:
        for seed, name in ((5, "data"), (6, "other")):
            m.run("generate", "tabular", "--rows", 6000, "--partitions", 3, "--seed", seed, "--out", scratch / name)
            m.run("validate", scratch / name)

        def config(name, steps):
            return m.write_config(scratch / "config.yaml", run={"name": name, "dir": str(scratch / "runs")},
                                  data={"dataset": str(scratch / "data")}, model={"name": "mlp", "hidden": [8]},
                                  batch={"size": 48, "lanes": 6, "window": 2}, train={"steps": steps, "threads": 1},
                                  evaluate={"split": ""}, checkpoint={"every_steps": 10})

        lineage(scratch, config)
        weights(scratch)
        evaluation(scratch)
        other_places(scratch, config)
        runs(scratch)
        no_console(scratch, config)
        generated_memory(scratch)


def lineage(scratch, config):
    """Five starts of one run, each of which keeps two checkpoints: explain names every generation's parent, kept or not."""
    for start in range(5):
        m.run("train", config("run", 20 * (start + 1)), *(("--allow", "train.steps", "--allow", "schedule.horizon") if start else ()),
              ranks=1 + start % 3)
    explained = m.run_json("explain", scratch / "runs" / "run")
    m.check(explained["step"] == 100, f"the last checkpoint: {explained['step']}")
    parents = [(parent["checkpoint"], parent["kept"]) for parent in explained["parents"]]
    wanted = [f"g{generation:04}-step-{20 * generation:08}" for generation in (4, 3, 2, 1)]
    m.check([name for name, _ in parents] == wanted, f"parents: {parents}, not {wanted}")
    m.check(sum(kept for _, kept in parents) <= 1 and not parents[-1][1], f"most are gone: {parents}")
    text = m.run("explain", scratch / "runs" / "run").stdout
    m.check(text.count("(not kept)") == sum(not kept for _, kept in parents), f"and that is said: {text}")


def weights(scratch):
    """Python's safetensors opens a checkpoint's weights as they are."""
    python = m.SOURCE / "build/deps/python/bin/python"
    if not python.exists():
        print("no build/deps/python (setup.sh --tests makes it): Python's safetensors is not tried")
        return
    checkpoint = sorted((scratch / "runs" / "run" / "checkpoints").glob("g0005-*"))[-1]
    program = ("import sys\nfrom safetensors.numpy import load_file\n"
               "for name, t in sorted(load_file(sys.argv[1]).items()): print(name, t.dtype, *t.shape)")
    done = subprocess.run([python, "-c", program, next(checkpoint.glob("model-*.safetensors"))], capture_output=True, text=True,
                          check=False)
    m.check(done.returncode == 0, done.stderr)
    tensors = done.stdout.splitlines()
    m.check(any(line.startswith("output.weight float32 1 8") for line in tensors) and len(tensors) >= 4, f"tensors: {tensors}")


def other_places(scratch, config):
    """RUN/config.yaml continues the run it lies in: also one that --resume never put beside another, also when moved."""
    m.run("train", config("run", 100), "--resume", "never", "--set", "train.steps=20")
    second = scratch / "runs" / "run-2"
    m.check(m.last_step(second) == 20, "--resume never starts run-2")
    longer = ("--set", "train.steps=30", "--allow", "train.steps", "--allow", "schedule.horizon")
    m.run("train", second / "config.yaml", *longer)
    m.check(m.last_step(second) == 30, "run-2's config.yaml continues run-2")
    moved = scratch / "elsewhere" / "third"
    moved.parent.mkdir()
    shutil.move(second, moved)
    m.run("train", moved / "config.yaml", expect=99)
    m.run("train", moved / "config.yaml", *("--set", "train.steps=40"), *longer[2:], ranks=2)
    m.check(m.last_step(moved) == 40 and not second.exists(), "a moved run continues where it is")
    m.run("train", moved / "config.yaml", "--set", "run.name=fourth")
    m.check(m.last_step(scratch / "elsewhere" / "fourth") == 40, "--set run.name starts another by the same config")


def evaluation(scratch):
    """The same metrics for any number of ranks; data other than those of the training are refused, or evaluated on purpose and said."""
    run = scratch / "runs" / "run"
    metrics = [m.run_json("evaluate", run, ranks=ranks)["metrics"] for ranks in (0, 2, 3)]
    m.check(metrics[0] == metrics[1] == metrics[2], f"other metrics on other ranks: {metrics}")
    part = sorted((scratch / "data").glob("*.h5"))[0]
    os.utime(part)
    done = m.run("evaluate", run)
    m.check("changed its time" in done.stderr, f"a new time is said: {done.stderr}")
    shutil.move(scratch / "data", scratch / "first")
    shutil.copytree(scratch / "other", scratch / "data")
    refused = m.run("evaluate", run, expect=78)
    m.check("not the data of this run" in refused.stderr and "--data" in refused.stderr, f"other data: {refused.stderr}")
    done = m.run("evaluate", run, "--data", scratch / "data")
    m.check("on other data than the run's" in done.stdout, f"on purpose, and said: {done.stdout}")
    shutil.rmtree(scratch / "data")
    shutil.move(scratch / "first", scratch / "data")


def runs(scratch):
    """Only directories that train made are runs, whatever else lies among them."""
    foreign = scratch / "runs" / "foreign"
    foreign.mkdir()
    (foreign / "events.jsonl").write_text('{"event": 7}\n[1]\n')
    damaged = scratch / "runs" / "damaged"
    shutil.copytree(scratch / "runs" / "run", damaged)
    (damaged / "events.jsonl").write_text('{"event": "run_started", "step": "x", "plan": 3}\n{"event": "evaluated", "metrics": 1, "best": {"metric": "auc"}}\n'
                                           '{"event": "evaluated", "metrics": {"auc": 1}, "best": {"metric": "auc"}}\n{"ev')
    listed = {os.path.basename(run["run"]): run for run in m.run_json("runs", scratch / "runs")["runs"]}
    m.check(set(listed) == {"run", "damaged"}, f"listed: {set(listed)}")
    m.check(listed["run"]["state"] == "finished" and listed["damaged"]["state"] == "interrupted", f"states: {listed}")
    m.run("runs", scratch / "runs")
    shutil.rmtree(foreign)
    shutil.rmtree(damaged)


def no_console(scratch, config):
    """The reader of the progress lines goes away; the training does not."""
    process = subprocess.Popen(m.command("train", config("piped", 400), "--set", "log.every_steps=1"), env=m.ENVIRONMENT,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    m.check(process.stdout.readline() != "", "it says something")
    process.stdout.close()
    m.check(process.wait(timeout=60) == 0, f"went on to its end: {process.returncode}")
    last = m.events(scratch / "runs" / "piped")[-1]
    m.check(last["event"] == "run_finished" and last["step"] == 400, f"{last}")


def generated_memory(scratch):
    """Generated data do not grow in memory with their rows."""
    for kind, rows in (("tabular", 40_000), ("card-fraud", 40_000), ("images", 4_000)):
        peaks = []
        for count in (rows, 8 * rows):
            out = scratch / f"{kind}-{count}"
            process = subprocess.Popen(m.command("generate", kind, "--rows", count, "--partitions", 4, "--out", out),
                                       stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            m.check(process.returncode == 0, f"generate {kind}: {process.returncode}")
            peaks.append(usage.ru_maxrss // 1024)
            shutil.rmtree(out)
        print(f"generate {kind}: {peaks[0]} MiB for {rows} rows, {peaks[1]} MiB for {8 * rows}")
        m.check(peaks[1] < 1.5 * peaks[0], f"{kind}: {peaks} MiB")


main()
