"""A program with an MPI of its own trains and scores by the installed package, from code, on some of its ranks; what is wrong with its
configuration or its data is an error that it can catch."""

import json
import subprocess

import muster_runs as m


def main():
    with m.Scratch() as scratch:
        _, build = m.build_example("embedded", scratch)
        program = str(build / "embedded")
        m.run("generate", "tabular", "--rows", 3000, "--partitions", 2, "--out", scratch / "data")
        m.run("validate", scratch / "data")
        row = {f"x{i}": 0.5 for i in range(100)}

        done = m.run(scratch / "data", scratch / "runs", json.dumps(row), ranks=3, program=program)  # 2 of 3 train
        lines = done.stdout.splitlines()
        scored = [json.loads(line.removeprefix("scored: ")) for line in lines if line.startswith("scored: ")]
        m.check(len(scored) == 1 and isinstance(next(iter(scored[0].values())), float), f"one answer: {done.stdout}")
        m.check(sum(line.startswith("trained: ") for line in lines) == 1, f"metrics: {done.stdout}")
        run = scratch / "runs/embedded"
        m.check(m.events(run)[-1]["event"] == "run_finished", "a run like any other")
        started = m.events(run)[0]
        m.check(started["environment"]["ranks"] == 2, f"on two ranks: {started['environment']}")

        # The command scores as the program did.
        answer = subprocess.run([m.MUSTER, "predict", str(run), "--stdin"], input=json.dumps(row) + "\n", env=m.ENVIRONMENT, text=True,
                                capture_output=True, check=True).stdout
        m.check(json.loads(answer.splitlines()[0]) == scored[0], f"the same score: {answer} {scored}")

        again = m.run(scratch / "data", scratch / "runs", "{}", ranks=2, program=program, expect=99)
        m.check("finished" in again.stderr, f"nothing to do: {again.stderr}")
        nowhere = m.run(scratch / "none", scratch / "more", "{}", ranks=2, program=program, expect=78)
        lines = [line for line in nowhere.stderr.splitlines() if str(scratch / "none") in line]  # mpirun has some of its own
        m.check(len(lines) == 1, f"one line: {nowhere.stderr}")


main()
