"""What earlier versions left behind is still understood: tests/kept/VERSION holds a small dataset, a run on it that was stopped on the way,
and what that version said of it. Each is verified, explained, evaluated, scored with, continued and started from."""

import json
import shutil

import muster_runs as m


def try_version(kept, scratch):
    expected = json.loads((kept / "expected.json").read_text())
    for part in ("data", "runs"):
        shutil.copytree(kept / part, scratch / part)
    run = scratch / "runs/kept"
    config = run / "config.yaml"
    data = ["--set", f"data.dataset={scratch / 'data'}"]
    m.run("verify", run)
    explained = m.run_json("explain", run)
    m.check(explained["data"]["fingerprint"] == expected["fingerprint"], "the data's fingerprint")
    for key in ("running_digest", "step"):
        m.check(explained[key] == expected["stopped"][key], f"{key}: {explained[key]}")
    measured = m.run_json("evaluate", run, "--data", scratch / "data", "--split", "test")["metrics"]
    for name, value in expected["test"].items():
        if isinstance(value, float):
            m.check(abs(measured[name] - value) <= 1e-4 * max(1, abs(value)), f"{name}: {measured[name]}, was {value}")
    m.run("predict", run, "--data", scratch / "data", "--split", "test", "--out", scratch / "scores.csv")
    m.check(len((scratch / "scores.csv").read_text().splitlines()) == expected["test"]["rows"] + 1, "a score for each row")
    # Kept on other ranks than it was made on: the same global batches.
    finished = m.run_json("train", config, *data, ranks=3)
    m.check(finished["running_digest"] == expected["finished"]["running_digest"], f"the same batches: {finished}")
    again = m.write_config(scratch / "again.yaml", run={"name": "again", "dir": str(scratch / "runs")}, data={"dataset": str(scratch / "data")},
                           model={**json.loads((kept / "expected.json").read_text())["model"], "init_from": str(run)},
                           batch={"size": 32, "lanes": 4}, loss={"kind": "binary"}, train={"steps": 2, "threads": 1}, evaluate={"split": ""})
    m.run("train", again)
    # Last, as it writes manifest and index anew: until here they were the old ones.
    m.check(m.run_json("validate", scratch / "data")["fingerprint"] == expected["fingerprint"], "the data's fingerprint")
    print(f"{kept.name}: verified, explained, evaluated, scored with, continued, started from")


def main():
    versions = sorted(path for path in (m.SOURCE / "tests/kept").iterdir() if path.is_dir())
    m.check(versions, "there are kept versions")
    for version in versions:
        with m.Scratch() as scratch:
            try_version(version, scratch)


main()
