"""What the integration tests share: running the real command under the real mpirun, and reading what it leaves."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MUSTER = os.environ["MUSTER"]
SOURCE = pathlib.Path(os.environ["MUSTER_SOURCE"])
FULL = os.environ.get("MUSTER_TEST_FULL") == "1"
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


def command(*arguments, ranks=0, program=None):
    start = ["mpirun", "-np", str(ranks), "--oversubscribe", "--bind-to", "none"] if ranks else []
    return start + [program or MUSTER, *map(str, arguments)]


def run(*arguments, ranks=0, expect=0, program=None, timeout=600, environment=None):
    """Runs to its end; returns the finished process. Any other exit code than `expect` fails with the output."""
    done = subprocess.run(command(*arguments, ranks=ranks, program=program), env={**ENVIRONMENT, **(environment or {})},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, check=False)
    if expect is not None and done.returncode != expect:
        sys.exit(f"expected exit code {expect}, got {done.returncode}: {' '.join(done.args)}\n"
                 f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}")
    return done


def run_json(*arguments, **options):
    """The JSON object that is the last line of stdout with --json."""
    return json.loads(run(*arguments, "--json", **options).stdout.strip().splitlines()[-1])


def start(*arguments, ranks=0, program=None):
    return subprocess.Popen(command(*arguments, ranks=ranks, program=program), env=ENVIRONMENT, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def events(run_directory):
    """Whole lines of events.jsonl, as they stand."""
    return events_in(pathlib.Path(run_directory) / "events.jsonl")


def events_in(path):
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            pass
    return found


def last_step(run_directory):
    steps = [event["step"] for event in events(run_directory) if event["event"] == "step"]
    return steps[-1] if steps else 0


def wait_for_step(process, run_directory, step, seconds=120):
    """True when the run has done so many steps, False when it ended before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if last_step(run_directory) >= step:
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.01)
    process.kill()
    sys.exit(f"no step {step} within {seconds} s")


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_a_rank(process, run_directory, dice):
    """SIGKILL to one of the run's ranks, a child of mpirun; whether it was another than rank 0."""
    zero = json.loads((pathlib.Path(run_directory) / "run.lock").read_text())["pid"]
    ranks = children(process if isinstance(process, int) else process.pid)
    pid = dice.choice(ranks or [zero])
    os.kill(pid, signal.SIGKILL)
    return pid != zero


class Scratch:
    """A directory that goes when the test ends well, and stays to be looked at when it does not."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="muster-test-"))
        return self.path

    def __exit__(self, kind, value, trace):
        if kind is None:
            shutil.rmtree(self.path)
        else:
            print(f"left for a look: {self.path}", file=sys.stderr)


def write_config(path, **sections):
    """A small config over the given sections; JSON is YAML."""
    path.write_text(json.dumps(sections, indent=1))
    return path


def check(holds, message):
    if not holds:
        sys.exit(f"FAILED: {message}")


def build_example(name, scratch):
    """Installs Muster into a folder and builds examples/NAME against it; returns both folders."""
    prefix, build = scratch / "installed", scratch / "build"
    sanitize = os.environ.get("MUSTER_SANITIZE")
    for step in (["cmake", "--install", os.environ["MUSTER_BUILD"], "--prefix", prefix],
                 ["cmake", "-S", SOURCE / "examples" / name, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                  f"-DCMAKE_PREFIX_PATH={prefix}", *([f"-DCMAKE_CXX_FLAGS=-fsanitize={sanitize}"] if sanitize else [])],
                 ["cmake", "--build", build]):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        check(done.returncode == 0, f"{step}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return prefix, build
