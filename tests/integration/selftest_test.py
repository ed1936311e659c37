"""`muster selftest` holds on this machine, says how to replay, and refuses what it does not know."""

import muster_runs as m


def main():
    full = ["--full"] if m.FULL else []
    with m.Scratch() as scratch:
        crash = m.run_json("selftest", "crash", *full, "--scratch", scratch / "crash")
        m.check(crash["failures"] == [] and crash["points"] >= (10_000 if m.FULL else 3000), f"{crash['points']} points")
        m.check(crash["kills"] >= (100 if m.FULL else 8) and crash["steps"] > 0, f"{crash['kills']} kills to step {crash['steps']}")
        print(f"crash: {crash['points']} points at {len(crash['sites'])} sites, {crash['orphans']} orphans, {crash['kills']} kills")
        one = m.run_json("selftest", "crash", "--only", 17)
        m.check(one["points"] == 1, "a point can be replayed alone")
        m.check("0 to " in m.run("selftest", "crash", "--only", 10**9, expect=64).stderr, "a point that is none")
        elastic = m.run_json("selftest", "elastic", *full, "--scratch", scratch / "elastic", timeout=3000)
        m.check(elastic["failures"] == [] and elastic["threads"] >= (1000 if m.FULL else 60) and elastic["mpirun"] >= (50 if m.FULL else 2), elastic)
        print(f"elastic: {elastic['threads']} schedules with threads, {elastic['mpirun']} under mpirun: {elastic['edges']}")
        one = m.run_json("selftest", "elastic", "--only", 3)
        m.check(sum(one["edges"].values()) < 12, "a schedule can be replayed alone")
        faults = m.run_json("selftest", "faults", *full, "--scratch", scratch / "faults", timeout=1200)
        m.check(faults["failures"] == [] and faults["faults"] >= 30, faults["failures"])
        m.check(faults["tried"] == (faults["faults"] if m.FULL else len(range(1, faults["faults"], 3))), faults)
        print(f"faults: {faults['tried']} of {faults['faults']}, the slowest after {max(faults['seconds'].values()):.0f} s")
        storm = m.run_json("selftest", "faults", "--only", 30, "--scratch", scratch)
        m.check(list(storm["seconds"]) == ["a storm of signals"] and storm["failures"] == [], storm)
        m.check("kill" in m.run("train", "x.yaml", "--drill", "kil@3", expect=None).stderr, "an unknown drill names the known ones")
        m.check("crash" in m.run("selftest", "crsh", expect=64).stderr, "an unknown selftest names the known ones")


main()
