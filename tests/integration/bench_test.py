"""muster bench: every benchmark runs, alone and on two ranks, and gives the numbers that it promises; sizes and models that cannot be are
refused."""

import json

import muster_runs as m

STEPS = {"mlp": ("--shape", 20, "--options", "{hidden: [8]}"), "resnet": ("--model", "resnet", "--shape", "3,16,16", "--options", "{width: 8}"),
         "gpt": ("--model", "gpt", "--shape", 9, "--vocabulary", 11, "--options", "{layers: 1, width: 8, heads: 2}")}


def positive(result, *names):
    for name in names:
        m.check(isinstance(result[name], (int, float)) and result[name] > 0, f"{name}: {result}")


def main():
    with m.Scratch() as scratch:
        for ranks in (0, 2):
            for model, arguments in STEPS.items():
                step = m.run_json("bench", "step", "--rows", 4, "--steps", 3, *arguments, ranks=ranks)
                m.check(step["model"] == model and step["ranks"] == max(1, ranks), f"{model}: {step}")
                positive(step, "parameters", "step_ms", "alone_ms", "bare_ms", "ratio_to_alone", "alone_to_bare")
                m.check(step["graph_ms"] is None and step["graph_error"] is None, f"no CUDA graph on a CPU: {step}")
            sums = m.run_json("bench", "allreduce", "--rounds", 3, "--bytes", "4,1 MiB", "--sum-precision", "bfloat16", ranks=ranks)
            m.check([size["bytes"] for size in sums["sizes"]] == [4, 1 << 20] and sums["sums"] == "in rank order" and sums["path"] == ("shared memory" if ranks > 1 else "memory of one process"), f"sums: {sums}")
            for size in sums["sizes"]:
                positive(size, "sum_us")
                m.check((size["library_us"] is None) == (ranks == 0), f"beside MPI where there is one: {size}")
            checkpoint = m.run_json("bench", "checkpoint", "--bytes", "1 MiB", "--rounds", 2, "--dir", scratch, ranks=ranks)
            positive(checkpoint, "copy_seconds", "write_seconds", "verify_seconds", "plain_seconds", "hash_seconds")
            positive(m.run_json("bench", "overhead", "--repeats", 20, "--parameters", 1000, "--dir", scratch, ranks=ranks),
                     "total_us", "share")
            m.check(not list(scratch.iterdir()), "nothing is left")
        low = m.run_json("bench", "step", "--rows", 4, "--steps", 3, "--precision", "bfloat16", *STEPS["mlp"])
        positive(low, "step_ms")
        trace = scratch / "trace.json"
        profiled = m.run_json("bench", "step", "--rows", 4, "--steps", 3, "--bucket-bytes", 100, "--profile", trace, *STEPS["mlp"], ranks=2)
        names = [row["name"] for row in profiled["profile"]]
        m.check("aten::addmm" in names and all(row["count"] > 0 for row in profiled["profile"]), f"operators: {names}")
        m.check(json.loads(trace.read_text())["traceEvents"], "a trace with events")
        m.check(len(profiled["buckets"]) == 4 and sum(profiled["buckets"]) == 4 * profiled["parameters"], f"buckets: {profiled['buckets']}")
        unwritable = m.run("bench", "step", "--rows", 4, "--steps", 3, "--profile", scratch / "none" / "trace.json", *STEPS["mlp"], expect=65)
        m.check("cannot be written" in unwritable.stderr, unwritable.stderr)
        for what in (("allreduce",), ("step", "--steps", 3)):
            refused = m.run("bench", *what, "--device", "cuda", expect=78, environment={"CUDA_VISIBLE_DEVICES": ""})
            m.check("no GPU" in refused.stderr and len(refused.stderr.strip().splitlines()) == 1, f"{what}: {refused.stderr}")
        for size in ("0", "many", "5 GiB"):
            refused = m.run("bench", "allreduce", "--bytes", size, expect=64)
            m.check("--bytes" in refused.stderr and len(refused.stderr.strip().splitlines()) == 1, f"{size}: {refused.stderr}")


main()
