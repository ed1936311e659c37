"""What `muster order` computes is what real runs consumed, on any number of ranks."""

import json

import muster_runs as m


def main():
    with m.Scratch() as scratch:
        m.run("generate", "tabular", "--rows", 3001, "--partitions", 3, "--seed", 5, "--out", scratch / "data")
        m.run("validate", scratch / "data")
        for ranks in (1, 2, 3):
            file = m.write_config(scratch / f"{ranks}.yaml", run={"name": f"ranks-{ranks}", "dir": str(scratch / "runs")},
                                  data={"dataset": str(scratch / "data")}, model={"name": "mlp", "hidden": [8]},
                                  batch={"size": 96, "lanes": 12, "window": 2}, train={"epochs": 2, "threads": 1})
            m.run("train", file, ranks=ranks)
            steps = [e for e in m.events(scratch / "runs" / f"ranks-{ranks}") if e["event"] == "step"]
            logged = {}
            for event in steps:
                logged.setdefault(event["epoch"], []).append(event["digest"])
            for epoch in (0, 1):
                lines = [json.loads(x) for x in m.run("order", file, "--epoch", epoch, "--world", ranks).stdout.splitlines()]
                summary = lines.pop()
                digests = [line["digest"] for line in lines if line["rank"] == 0]
                m.check(digests == logged[epoch], f"epoch {epoch} on {ranks} ranks: order and run differ")
                rows = [tuple(row) for line in lines for row in line["rows"]]
                m.check(len(rows) == len(set(rows)) == summary["rows"], "order gives a row twice or never")


main()
