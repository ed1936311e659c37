"""A rank that stands still, hangs in the middle of a step, or is gone: the others end within the deadline with 69 and one line that
names it, and every rank that can leaves its stack in its events."""

import os
import re
import signal
import time

import muster_runs as m


def main():
    with m.Scratch() as scratch:
        m.run("generate", "tabular", "--rows", 20000, "--partitions", 4, "--seed", 5, "--out", scratch / "data")
        m.run("validate", scratch / "data")

        def start(name, *options):
            config = m.write_config(scratch / f"{name}.yaml", run={"name": name, "dir": str(scratch / "runs")},
                                    data={"dataset": str(scratch / "data")}, model={"name": "mlp", "hidden": [64]},
                                    batch={"size": 64, "lanes": 8, "window": 2}, train={"steps": 10**6, "threads": 1},
                                    evaluate={"split": ""}, checkpoint={"every_seconds": 0}, log={"tensorboard": False})
            process = m.start("train", config, *options, ranks=3)
            directory = scratch / "runs" / name
            m.check(m.wait_for_step(process, directory, 30), f"{name}: it ended before it could be hurt")
            return process, directory

        def faults(directory, rank):
            file = directory / ("events.jsonl" if rank == 0 else f"events.rank-{rank}.jsonl")
            return [e for e in m.events_in(file) if e["event"] == "fault"] if file.exists() else []

        def rank_of(directory, pid):
            """By the environment that mpirun gave the process."""
            text = open(f"/proc/{pid}/environ", "rb").read().decode(errors="replace")
            return int(re.search(r"OMPI_COMM_WORLD_RANK=(\d+)", text).group(1))

        for victim in (0, 2):
            process, directory = start(f"stopped-{victim}", "--set", "log.deadline_seconds=4")
            pids = {rank_of(directory, pid): pid for pid in m.children(process.pid)}
            os.kill(pids[victim], signal.SIGSTOP)
            began = time.monotonic()
            output, _ = process.communicate(timeout=60)
            took = time.monotonic() - began
            m.check(process.returncode == 69, f"{victim} stopped: ended with {process.returncode}, not 69:\n{output}")
            line = rf"collective '[^']+' \(#\d+, step \d+\) has waited .*rank {victim}"
            m.check(re.search(line, output), f"{victim} stopped: no line like {line}:\n{output}")
            m.check(took < 20, f"{victim} stopped: it took {took:.0f} s")
            told = {rank: faults(directory, rank) for rank in range(3) if rank != victim}
            for rank, found in told.items():
                m.check(len(found) == 1 and found[0]["exit_code"] == 69, f"rank {rank}: {found}")
                m.check(any("muster" in frame for frame in found[0].get("stack", [])), f"rank {rank}'s stack: {found[0].get('stack')}")
            if victim == 2:
                # Where its last sign was from: between collectives, or in one that the others have left.
                m.check(re.search(rf"\(pid {pids[2]}\), in (phase )?'", output), output)
            print(f"rank {victim} stopped: told after {took:.1f} s: " + next(l for l in output.splitlines() if "has waited" in l))
            resumed = m.start("train", scratch / f"stopped-{victim}.yaml", ranks=2)
            while not any(e["event"] == "resumed" for e in m.events(directory)) or m.events(directory)[-1]["event"] != "step":
                m.check(resumed.poll() is None, "it does not go on afterwards")
                time.sleep(0.05)
            resumed.send_signal(signal.SIGUSR1)
            resumed.communicate(timeout=60)
            m.check(resumed.returncode == 75, f"resumed: {resumed.returncode}")

        # A job that was suspended, as by a scheduler, is no job that hangs.
        process, directory = start("suspended", "--set", "log.deadline_seconds=4")
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in m.children(process.pid):
                os.kill(pid, number)
            if number == signal.SIGSTOP:
                time.sleep(9)
        before = m.last_step(directory)
        time.sleep(5)
        m.check(process.poll() is None and m.last_step(directory) > before, f"suspended and resumed: {process.poll()}")
        process.send_signal(signal.SIGUSR1)
        output, _ = process.communicate(timeout=60)
        m.check(process.returncode == 75, f"suspended, resumed, stopped: {process.returncode}\n{output}")

        process, directory = start("killed")
        os.kill(next(pid for pid in m.children(process.pid) if rank_of(directory, pid) == 1), signal.SIGKILL)
        began = time.monotonic()
        process.communicate(timeout=60)
        m.check(process.returncode != 0 and time.monotonic() - began < 30, f"a killed rank: {process.returncode}")


main()
