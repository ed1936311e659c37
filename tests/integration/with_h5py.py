"""For tests that write and read HDF5 themselves: goes on in the Python that setup.sh --tests makes, where this one has no h5py."""

import os
import sys

import muster_runs as m

try:
    import h5py  # noqa: F401
    import numpy  # noqa: F401
except ImportError:
    PYTHON = str(m.SOURCE / "build/deps/python/bin/python")
    if sys.executable == PYTHON or not os.path.exists(PYTHON):
        print("skipped: no Python with h5py (setup.sh --tests installs one)")
        sys.exit(77)
    os.execv(PYTHON, [PYTHON, "-B", *sys.argv])
