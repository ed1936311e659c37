"""For tests that need more than Python's own library: goes on in the Python that setup.sh --tests makes, where this one lacks a package."""

import importlib.util
import os
import sys

import muster_runs as m


def need(*packages):
    """To be called before the packages are imported."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if not missing:
        return
    python = str(m.SOURCE / "build/deps/python/bin/python")
    if sys.executable == python or not os.path.exists(python):
        print(f"skipped: no Python with {', '.join(missing)} (setup.sh --tests installs one)")
        sys.exit(77)
    os.execv(python, [python, "-B", *sys.argv])
