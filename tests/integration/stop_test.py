"""USR1 to mpirun: checkpoint and stop with 75, and the resumed run sees the same batches; INT (Ctrl-C), HUP (a closed session) and TERM
to a lone process too.
USR2: checkpoint and go on. A second start in the same run directory is refused; a finished run has nothing to do."""

import os
import signal

import muster_runs as m


def main():
    with m.Scratch() as scratch:
        m.run("generate", "tabular", "--rows", 20000, "--partitions", 4, "--seed", 5, "--out", scratch / "data")
        m.run("validate", scratch / "data")

        def config(name, epochs=20):
            return m.write_config(scratch / f"{name}.yaml", run={"name": name, "dir": str(scratch / "runs")},
                                  data={"dataset": str(scratch / "data")}, model={"name": "mlp", "hidden": [64]},
                                  batch={"size": 64, "lanes": 8, "window": 2}, train={"epochs": epochs, "threads": 1},
                                  evaluate={"split": ""}, checkpoint={"every_seconds": 0})

        undisturbed = m.run_json("train", config("undisturbed"), ranks=2)
        directory = scratch / "runs" / "stopped"
        process = m.start("train", config("stopped"), ranks=2)
        m.check(m.wait_for_step(process, directory, 20), "the run ended before it could be stopped")
        os.kill(process.pid, signal.SIGUSR2)
        m.wait_for_step(process, directory, m.last_step(directory) + 20)
        os.kill(process.pid, signal.SIGUSR1)
        output, _ = process.communicate(timeout=60)
        m.check(process.returncode == 75, f"stopped with {process.returncode}, not 75:\n{output}")
        m.check(any(line == "ready" for line in output.splitlines()), "no line 'ready'")
        kinds = [event["event"] for event in m.events(directory)]
        commits = kinds.count("checkpoint_committed")
        # A rank that saw USR2 only after that checkpoint may cause one more.
        m.check(3 <= commits <= 4, f"step 0, USR2 and USR1 make three checkpoints, not {commits}")
        m.check(kinds[-1] == "stopped", "the last event is 'stopped'")

        for name, number in (("interrupted", signal.SIGINT), ("hung-up", signal.SIGHUP), ("terminated", signal.SIGTERM)):
            one = m.start("train", config(name, epochs=100_000))  # so long that only a signal ends it
            m.check(m.wait_for_step(one, scratch / "runs" / name, 20), f"{name}: the run ended before")
            if number == signal.SIGINT:
                m.run("train", config(name, epochs=100_000), expect=78)  # in use
            os.kill(one.pid, number)
            output, _ = one.communicate(timeout=60)
            m.check(one.returncode == 75, f"{name}: ended with {one.returncode}, not 75:\n{output}")
            last = m.events(scratch / "runs" / name)[-1]
            m.check(last["event"] == "stopped" and last["step"] >= 20, f"{name}: {last}")
            m.run("verify", scratch / "runs" / name / "checkpoints" / last["checkpoint"])

        m.run("train", config("timed", epochs=8), "--set", "checkpoint.every_seconds=0.1", ranks=2)
        times = [event["time"] for event in m.events(scratch / "runs" / "timed") if event["event"] == "checkpoint_committed"]
        m.check(len(times) >= 4, f"step 0, the end, and by the clock between: {times}")

        resumed = m.run_json("train", config("stopped"), ranks=2)
        m.check(resumed["running_digest"] == undisturbed["running_digest"], "stopped and resumed: other batches")
        done = m.run("train", config("stopped"), ranks=2, expect=99)
        m.check("nothing to do" in done.stderr, "a finished run says so")


main()
