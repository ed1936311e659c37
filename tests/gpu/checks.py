"""What needs a GPU: numbers against the CPU's, NCCL with one rank and with several on one GPU, precision, resuming, refusals, and the
throughput of three models beside the same in Python. Run by run.sh; prints a line per check and a table, exits 1 where one fails."""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


class Failed(Exception):
    pass


class Bench:
    def __init__(self, options):
        self.muster = options.muster
        self.device = options.device
        self.on = f"train.device={options.device}"
        self.options = options
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="muster-gpu-"))
        self.table = []

    def run(self, *arguments, ranks=0, environment=None, expect=0):
        """`ranks` 0: without mpirun. Several ranks share the GPU: NCCL is told that they are on as many hosts."""
        command = [self.muster, *map(str, arguments)]
        variables = {**os.environ, **(environment or {})}
        if ranks:
            each = "NCCL_HOSTID=$OMPI_COMM_WORLD_RANK exec \"$0\" \"$@\""
            command = ["mpirun", "-np", str(ranks), "--oversubscribe", "--bind-to", "none", "bash", "-c", each, *command]
            variables.setdefault("MUSTER_SHARE_GPUS", "1")
            if environment and environment.get("MUSTER_SHARE_GPUS") == "":
                del variables["MUSTER_SHARE_GPUS"]
        done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=540)
        if done.returncode != expect:
            raise Failed(f"exit code {done.returncode}, {expect} was expected: {' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
        return done.stdout + done.stderr

    def data(self, kind, rows=4096, **options):
        folder = self.scratch / kind
        if not folder.exists():
            extra = [word for key, value in options.items() for word in (f"--{key}", value)]
            self.run("generate", kind, "--rows", rows, "--partitions", 2, "--seed", 1, *extra, "--out", folder)
            self.run("validate", folder)
        return folder

    def config(self, name, data, settings):
        """What follows the word train."""
        model = next(setting.split("=")[1] for setting in settings if setting.startswith("model.name="))
        file = self.scratch / f"{name}.yaml"
        file.write_text(f"run: {{name: {name}, dir: {self.scratch}/runs, seed: 3}}\ndata: {{dataset: {data}}}\nmodel: {{name: {model}}}\n"
                        "train: {threads: 1}\nlog: {tensorboard: false}\nevaluate: {split: ''}\n")
        return [file, *(word for setting in settings for word in ("--set", setting))]

    def train(self, name, data, settings, ranks=0, expect=0, environment=None):
        output = self.run("train", *self.config(name, data, settings), ranks=ranks, expect=expect, environment=environment)
        return output if expect else self.steps_of(name)

    def events(self, name):
        lines = (self.scratch / "runs" / name / "events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def steps_of(self, name):
        return [event for event in self.events(name) if event["event"] == "step"]


# The resnets learn slowly here: at usual rates a difference of the last bit grows a thousandfold within three steps, on CPUs too.
MODELS = {
    "mlp": ("tabular", ["model.name=mlp", "model.hidden=[256,256]", "batch.size=64", "optimizer.name=adamw", "optimizer.learning_rate=0.001"], 1e-4),
    "resnet": ("images", ["loss.kind=cross_entropy", "model.name=resnet", "model.width=16", "model.norm=batch", "batch.size=32", "batch.lanes=4",
                          "optimizer.name=sgd", "optimizer.learning_rate=0.001"], 5e-3),
    "resnet-lane": ("images", ["loss.kind=cross_entropy", "model.name=resnet", "model.width=16", "model.norm=batch", "batch.size=32", "batch.lanes=1",
                               "optimizer.name=sgd", "optimizer.learning_rate=0.001"], 5e-3),
    "resnet-sync": ("images", ["loss.kind=cross_entropy", "model.name=resnet", "model.width=16", "model.norm=batch_sync", "batch.size=32", "batch.lanes=4",
                               "optimizer.name=sgd", "optimizer.learning_rate=0.001"], 5e-3),
    "gpt": ("tokens", ["loss.kind=next_token", "model.name=gpt", "model.layers=2", "model.width=64", "model.dropout=0.1", "batch.size=16",
                       "optimizer.name=adamw", "optimizer.learning_rate=0.001"], 1e-3),
}


def difference(ours, theirs):
    if [step["digest"] for step in ours] != [step["digest"] for step in theirs]:
        raise Failed("other rows were used")
    return max(abs(a["loss"] - b["loss"]) / abs(b["loss"]) for a, b in zip(ours, theirs))


def check_operators(bench):
    """The kernels against float64 on the CPU, of random shapes."""
    done = subprocess.run([bench.options.operators], capture_output=True, text=True, timeout=300)
    print("\n".join("  " + line for line in done.stdout.splitlines() if "times" in line or "PASSED" in line or "FAILED" in line))
    if done.returncode != 0 or "SKIPPED" in done.stdout:
        raise Failed(done.stdout[-6000:] + done.stderr[-2000:])


def check_numerics(bench):
    """The same losses as on the CPU, over 20 steps, of each model; and several ranks on one GPU as one."""
    several = None
    for name, (kind, settings, tolerance) in MODELS.items():
        data = bench.data(kind)
        common = [*settings, "train.steps=20"]
        on_cpu = bench.train(f"{name}-cpu", data, [*common, "train.device=cpu"])
        for ranks in bench.options.ranks if "batch.lanes=1" not in settings else [0]:
            on_gpu = bench.train(f"{name}-gpu{ranks}", data, [*common, bench.on], ranks=ranks)
            if ranks > 1:
                several = f"{name}-gpu{ranks}"
            found = difference(on_gpu, on_cpu)
            print(f"  {name}, {ranks or 'no'} ranks of mpirun: losses differ by {found:.1e} (at most {tolerance:.0e})")
            if found > tolerance:
                raise Failed(f"the losses of {name} differ by {found:.1e}")
    if several is None:
        return
    device = bench.events(several)[0]["environment"]
    print(f"  {device['device']}, sums {device['sums']}")
    if bench.device == "cuda" and (device["sums"] != "by NCCL" or device["device"] == "cpu"):
        raise Failed("the record does not say GPU and NCCL")


def check_precision(bench):
    """bfloat16, float16 with its loss scale, and sums in bfloat16 learn as well as float32."""
    kind, settings, _ = MODELS["gpt"]
    data = bench.data(kind)
    ways = {"float32": [], "bfloat16": ["train.precision=bfloat16"], "float16": ["train.precision=float16"], "sums in bfloat16": ["train.sum_precision=bfloat16"]}
    losses = {}
    for way, chosen in ways.items():
        name = "precision-" + way.replace(" ", "-")
        steps = bench.train(name, data, [*settings, "train.steps=150", *chosen, bench.on], ranks=2)
        losses[way] = sum(step["loss"] for step in steps[-20:]) / 20
        halved = sum(event["event"] == "loss_scale_halved" for event in bench.events(name))
        print(f"  {way}: mean loss of the last 20 of 150 steps {losses[way]:.5f}, loss scale halved {halved} times")
    for way, loss in losses.items():
        if not abs(loss / losses["float32"] - 1) < 0.01:
            raise Failed(f"{way} learns otherwise")


def check_resume(bench):
    """Stopped by a signal and gone on with, to the same bits."""
    kind, settings, _ = MODELS["mlp"]
    data = bench.data(kind)
    short = [*settings, "train.steps=400", bench.on]
    whole = bench.train("whole", data, short, ranks=2)
    arguments = [str(word) for word in bench.config("cut", data, short)]
    command = ["mpirun", "-np", "2", "--oversubscribe", "--bind-to", "none", "bash", "-c", "NCCL_HOSTID=$OMPI_COMM_WORLD_RANK exec \"$0\" \"$@\"",
               bench.muster, "train", *arguments]
    process = subprocess.Popen(command, env={**os.environ, "MUSTER_SHARE_GPUS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    events = bench.scratch / "runs" / "cut" / "events.jsonl"
    until = time.time() + 120
    while time.time() < until and process.poll() is None:
        if events.exists() and events.read_text().count('"event":"step"') >= 30:
            process.send_signal(signal.SIGUSR1)
            break
        time.sleep(0.01)
    process.communicate(timeout=120)
    if process.returncode != 75:
        raise Failed(f"the stopped run ended with {process.returncode}")
    stopped = len(bench.steps_of("cut"))
    bench.run("train", *arguments, ranks=2)
    ours = {step["step"]: step for step in bench.steps_of("cut")}
    same = all(ours[step["step"]]["loss"] == step["loss"] and ours[step["step"]]["gradient_norm"] == step["gradient_norm"] for step in whole)
    print(f"  stopped after {stopped} steps, then to step {max(ours)}: {'the same bits' if same else 'other bits'}")
    if not same or max(ours) != 400 or not 30 <= stopped < 400:
        raise Failed("the resumed run is another one")


def check_sums(bench):
    """Sums of two ranks beside NCCL's own; bfloat16 in rank order."""
    for precision, how in (("float32", "by NCCL"), ("bfloat16", "in rank order, sent as bfloat16")):
        text = bench.run("bench", "allreduce", "--device", "cuda", "--sum-precision", precision, "--bytes", "4,64 KiB,25 MiB", "--rounds", 20, "--json", ranks=2)
        told = json.loads([line for line in text.splitlines() if line.startswith("{")][-1])
        times = ", ".join(f"{size['bytes']} bytes {size['sum_us']:.0f} us ({size['ratio_to_library']:.2f} of ncclAllReduce's)" for size in told["sizes"])
        print(f"  {precision}, {told['sums']}: {times}")
        if (told["sums"], told["path"], told["library"]) != (how, "NCCL", "ncclAllReduce"):
            raise Failed(f"sums: {told}")


def check_trace(bench):
    """The trace shows what the GPU did; the log shows what it waited for."""
    kind, settings, _ = MODELS["mlp"]
    bench.train("traced", bench.data(kind), [*settings, "train.steps=30", "log.trace=20:23", "train.sum_precision=bfloat16", bench.on], ranks=2)
    files = list((bench.scratch / "runs" / "traced").glob("trace-*.json"))
    events = json.loads(files[0].read_text())["traceEvents"]
    tracks = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    on = lambda event, words: event["ph"] == "X" and words in tracks[event["pid"], event["tid"]]
    kernels = [event for event in events if on(event, "GPU stream")]
    loop = [event for event in events if on(event, "loop")]
    first, last = min(event["ts"] for event in loop), max(event["ts"] + event["dur"] for event in loop)
    inside = sum(first <= event["ts"] <= last for event in kernels)
    shares = [event["gpu_wait_shares"] for event in bench.events("traced") if event["event"] == "efficiency"]
    print(f"  {len(kernels)} kernels and copies of ranks {sorted({event['pid'] for event in kernels})}, {inside} of them while the loop ran; "
          f"GPUs waited for sums {shares[-1]} of the time")
    if {event["pid"] for event in kernels} != {0, 1} or inside < 0.9 * len(kernels) or not any("sum_ranks" in event["name"] for event in kernels):
        raise Failed(f"streams {set(tracks.values())}; names {sorted({event['name'] for event in kernels})[:40]}")
    if len(shares[-1]) != 2 or not all(0 < share < 1 for share in shares[-1]):
        raise Failed(f"what GPUs waited for: {shares}")


def check_scoring(bench):
    """evaluate and predict give on a GPU what they give on the CPU, but for rounding."""
    for name in ("mlp", "resnet"):
        kind, settings, _ = MODELS[name]
        data = bench.data(kind)
        bench.train(f"scored-{name}", data, [*settings, "train.steps=20", bench.on])
        run = bench.scratch / "runs" / f"scored-{name}"
        metrics, tables = {}, {}
        for device in ("cpu", bench.device):
            text = bench.run("evaluate", run, "--split", "test", "--device", device, "--json")
            metrics[device] = json.loads([line for line in text.splitlines() if line.startswith("{")][-1])["metrics"]
            out = bench.scratch / f"{name}-{device}.csv"
            bench.run("predict", run, "--data", data, "--out", out, "--device", device, "--overwrite", ranks=2)
            tables[device] = [line.split(",") for line in out.read_text().splitlines()]
        loss = abs(metrics[bench.device]["loss"] / metrics["cpu"]["loss"] - 1)
        column = next(i for i, word in enumerate(tables["cpu"][0]) if word.startswith("pr"))
        rows = list(zip(tables["cpu"], tables[bench.device]))[1:]
        numbers = lambda text: [float(word) for word in text.split(";" if ";" in text else " ")]
        off = max(abs(a - b) for ours, theirs in rows for a, b in zip(numbers(ours[column]), numbers(theirs[column])))
        print(f"  {name}: the loss of the test split differs by {loss:.1e}, {tables['cpu'][0][column]} of {len(rows)} rows by {off:.1e}")
        if loss > 1e-5 or off > 1e-3 or len(tables["cpu"]) != len(tables[bench.device]):
            raise Failed(f"{name} scores otherwise")


def check_refusals(bench):
    """What cannot be ends with one line and its exit code."""
    kind, settings, _ = MODELS["mlp"]
    data = bench.data(kind)
    shared = bench.train("shared", data, [*settings, "train.steps=2", bench.on], ranks=2, expect=78, environment={"MUSTER_SHARE_GPUS": ""})
    if "same GPU" not in shared and "start at most one rank" not in shared:
        raise Failed(f"two ranks on one GPU: {shared}")
    hidden = bench.train("hidden", data, [*settings, "train.steps=2", bench.on], expect=78, environment={"CUDA_VISIBLE_DEVICES": ""})
    if "no GPU" not in hidden:
        raise Failed(f"no GPU is visible: {hidden}")
    large = bench.train("large", data, ["model.name=mlp", "model.hidden=[10000000]", "batch.size=16384", "batch.lanes=1", "train.steps=2", bench.on,
                                        "optimizer.name=sgd"], expect=78)
    told = [line for line in large.splitlines() if "out of memory" in line and "GPU" in line]
    if not told:
        raise Failed(f"out of memory: {large}")
    print("  " + told[-1][:200])


# What Muster's bench is told, what the rival is told.
RACES = {
    "resnet50": (["--model", "resnet", "--options", '{"depth":50,"norm":"batch"}', "--shape", "3,224,224", "--outputs", "1000", "--rows", "128"],
                 ["--model", "resnet50", "--rows", "128"]),
    "gpt-124M": (["--model", "gpt", "--options", '{"layers":12,"width":768,"heads":12}', "--shape", "1025", "--vocabulary", "50304", "--rows", "16"],
                 ["--model", "gpt", "--rows", "16"]),
    "tabular": (["--model", "mlp", "--options", '{"hidden":[1024,1024,1024]}', "--shape", "256", "--rows", "4096"],
                ["--model", "mlp", "--rows", "4096"]),
}


def race(bench, name, ours, theirs):
    """A row of the table."""
    profile = ["--profile", pathlib.Path(bench.options.profile) / f"{name}.json"] if bench.options.profile else []
    lines = bench.run("bench", "step", "--device", bench.device, "--precision", "bfloat16", "--steps", bench.options.steps, *ours, *profile,
                      "--json").splitlines()
    mine = json.loads([text for text in lines if text.startswith("{")][-1])
    for kernel in mine["profile"] or []:
        print(f"    {kernel['ms']:8.3f} ms {kernel['count']:5} {kernel['name'][:120]}")
    rivals = {}
    for mode in bench.options.rivals:
        done = subprocess.run([sys.executable, "-B", str(HERE / "rival.py"), "--mode", mode, "--steps", str(bench.options.steps), *theirs],
                              capture_output=True, text=True, timeout=400)
        if done.returncode == 0:
            rivals[mode] = json.loads(done.stdout.splitlines()[-1])["step_ms"]
        else:
            print(f"  {name}, {mode}: the rival failed: {done.stderr[-500:]}")
    if bench.options.rivals and not rivals:
        raise Failed("no rival ran")
    row = [name, f"{mine['step_ms']:.2f} ms"]
    row += [f"{rivals[mode]:.2f} ms ({rivals[mode] / mine['step_ms']:.2f})" if mode in rivals else "-" for mode in ("eager", "compile")]
    row.append(f"{mine['bare_ms']:.2f} ms")
    row.append(f"{mine['graph_ms']:.2f} ms" if mine["graph_ms"] else f"- ({mine['graph_error'][:100]})")
    row.append(f"{mine['flops_per_second'] / 1e12:.0f} TFLOP/s" + (f", MFU {100 * mine['utilization']:.0f} %" if mine["utilization"] else ""))
    return row


def check_throughput(bench):
    """Steps of three models in bfloat16 beside Python's, eager and compiled, and beside a plain loop of LibTorch."""
    if bench.options.profile:
        pathlib.Path(bench.options.profile).mkdir(parents=True, exist_ok=True)
    failed = []
    for name, (ours, theirs) in RACES.items():
        try:
            bench.table.append(race(bench, name, ours, theirs))
            print("  " + " | ".join(bench.table[-1]), flush=True)
        except Failed as failure:
            failed.append(f"{name}: {failure}")
    if failed:
        raise Failed("; ".join(failed))


CHECKS = {"operators": check_operators, "numerics": check_numerics, "precision": check_precision, "resume": check_resume, "sums": check_sums, "trace": check_trace,
          "scoring": check_scoring, "refusals": check_refusals, "throughput": check_throughput}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--muster", required="--list" not in sys.argv)
    parser.add_argument("--operators", help="the program that checks the kernels")
    parser.add_argument("--only", default=",".join(CHECKS))
    parser.add_argument("--steps", type=int, default=30)
    words = {"type": lambda text: text.split(",")}
    parser.add_argument("--rivals", default=["eager", "compile"], help="of the throughput table", **words)
    parser.add_argument("--ranks", default=[0, 1, 2, 3], type=lambda text: [int(word) for word in text.split(",")], help="of the numerics; 0: no mpirun")
    parser.add_argument("--profile", help="a folder: what the kernels of the throughput table's models take goes there")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to try numerics, precision and resume of this script itself")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        for name, check in CHECKS.items():
            print(f"{name:12} {check.__doc__}")
        return 0
    bench = Bench(options)
    failed = []
    for name in options.only.split(","):
        began = time.time()
        print(f"== {name}: {CHECKS[name].__doc__}", flush=True)
        try:
            CHECKS[name](bench)
            print(f"== {name}: ok, {time.time() - began:.0f} s", flush=True)
        except (Failed, subprocess.TimeoutExpired, KeyError, IndexError, OSError) as failure:
            print(f"== {name}: FAILED, {time.time() - began:.0f} s: {failure!r}", flush=True)
            failed.append(name)
    for row in bench.table:
        print("| " + " | ".join(row) + " |")
    print(f"tests/gpu: {'FAILED: ' + ', '.join(failed) if failed else 'all ok'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
