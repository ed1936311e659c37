"""A project outside the tree uses the installed package, adds a model in one file, and trains it under mpirun; a model that throws
on one rank ends all ranks with 70 and one line."""

import json

import muster_runs as m


def main():
    with m.Scratch() as scratch:
        prefix, build = m.build_example("own-model", scratch)
        program = str(build / "own_model")
        installed = str(prefix / "bin/muster")
        m.run("generate", "tabular", "--rows", 4000, "--partitions", 2, "--out", scratch / "data", program=installed)
        m.run("validate", scratch / "data", program=installed)

        def config(name, **model):
            return m.write_config(scratch / f"{name}.yaml", run={"name": name, "dir": str(scratch / "runs")},
                                  data={"dataset": str(scratch / "data")}, model={"name": "gated", **model},
                                  batch={"size": 64, "lanes": 8}, train={"epochs": 2, "threads": 1})

        result = m.run_json("train", config("own"), ranks=2, program=program)
        m.check(result["outcome"] == "finished" and "rmse" in result["metrics"]["validation"], f"trained: {result}")
        m.run("evaluate", result["directory"], ranks=2, program=program)
        m.run("train", config("own"), expect=78)  # the plain command does not know the model
        failed = m.run("train", config("throws", fail_at_step=5), ranks=2, program=program, expect=70, timeout=60)
        lines = [line for line in failed.stderr.splitlines() if "asked to fail" in line]
        m.check(len(lines) == 1 and "rank 1 on " in lines[0] and "step 5" in lines[0], f"one line with rank and step: {lines}")
        logs = (scratch / "runs/throws").glob("events*.jsonl")
        faults = [event for log in logs for event in map(json.loads, log.read_text().splitlines()) if event["event"] == "fault"]
        m.check(len(faults) >= 1 and all(fault["step"] == 5 for fault in faults), f"faults say their step: {faults}")

        # A rank that cannot even record its failure takes the others down all the same.
        for rank in (1, 2):
            log = scratch / f"runs/throws/events.rank-{rank}.jsonl"
            log.unlink(missing_ok=True)
            log.mkdir()
        failed = m.run("train", config("throws", fail_at_step=5), ranks=3, program=program, expect=70, timeout=60)
        m.check("the failure cannot be recorded" in failed.stderr, f"said on stderr: {failed.stderr}")


main()
