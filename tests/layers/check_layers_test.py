"""Feeds check_layers trees that break one rule each and expects exactly that refusal."""
import re
import tempfile
import unittest
from pathlib import Path

import check_layers

GOOD = {
    "core/error.h": "#pragma once\n#include <string>\n",
    "data_loader/reading/partition.cpp": '#include <hdf5.h>\n#include "core/error.h"\n',
    "models/model.h": '#include "data_loader/contract/batch.h"\n',
    "models/mlp.cpp": '#include <torch/torch.h>\n#include "models/model.h"\n',
    "models/CMakeLists.txt": "muster_add_layer(models TORCH_SOURCES mlp.cpp LINK muster::data_loader)\n",
    "trainer/comm/mpi_comm.cpp": "#include <mpi.h>\n",
    "trainer/cuda/device.cpp": "#ifdef MUSTER_CUDA\n#endif\n",
    "trainer/loop/trainer.cpp": '#include "trainer/comm/communicator.h"\n#include "data_loader/ingest/ingest.h"\n',
    "launch/main.cpp": '#include "trainer/loop/trainer.h"\n#include "core/error.h"\n',
}

BAD = [
    ("core/a.h", '#include "data_loader/contract/contract.h"\n', "core is to the left of data_loader"),
    ("core/a.cpp", "#include <muster/launch/main.h>\n", "core is to the left of launch"),
    ("models/a.cpp", '#  include "trainer/loop/trainer.h"\n', "models is to the left of trainer"),
    ("models/a.h", "#include <torch/torch.h>\n", "torch stays out of headers"),
    ("trainer/loop/a.h", "#include <ATen/ATen.h>\n", "torch stays out of headers"),
    ("models/a.cpp", "#include <c10/util/Half.h>\n", "list this file under TORCH_SOURCES"),
    ("data_loader/order/a.cpp", "#include <torch/torch.h>\n", "knows nothing of torch"),
    ("core/a.cpp", "#include <mpi.h>\n", "knows nothing of MPI"),
    ("data_loader/order/a.cpp", "#include <mpi.h>\n", "knows nothing of MPI"),
    ("models/a.cpp", "#include <mpi.h>\n", "knows nothing of MPI"),
    ("trainer/loop/a.cpp", "#include <hdf5.h>\n", "HDF5 stays in data_loader"),
    ("core/a.cpp", "#include <H5public.h>\n", "HDF5 stays in data_loader"),
    ("trainer/loop/a.cpp", "#ifdef USE_CUDA\n#endif\n", "no #if for CUDA"),
    ("launch/a.cpp", "#if defined(MUSTER_NCCL)\n#endif\n", "no #if for CUDA"),
    ("core/a.cpp", '#include "error.h"\n', "core/error.h"),
    ("core/a.cpp", '#include "../core/error.h"\n', "from the root"),
    ("core/a.h", "\n" * 161, "161 lines, the limit is 160"),
    ("core/a.cpp", "\n" * 451, "451 lines, the limit is 450"),
    ("trainer/comm/a.cpp", '#include "trainer/loop/trainer.h"\n', "trainer/comm is to the left of trainer/loop"),
    ("data_loader/contract/a.h", "#include <muster/data_loader/ingest/ingest.h>\n", "is to the left of data_loader/ingest"),
    ("trainer/a.cpp", "", "trainer has rooms"),
    ("trainer/else/a.cpp", "", "trainer has rooms"),
    ("core/CMakeLists.txt", "muster_add_layer(core LINK muster::trainer)\n", "links muster::trainer"),
]


def check_tree(files):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return check_layers.check(root)


class CheckLayersTest(unittest.TestCase):
    def test_accepts_a_good_tree(self):
        self.assertEqual(check_tree(GOOD), [])

    def test_refuses_every_offence(self):
        for name, text, expected in BAD:
            with self.subTest(name=name, expected=expected):
                offences = check_tree({**GOOD, name: text})
                self.assertEqual(len(offences), 1, offences)
                self.assertTrue(offences[0].startswith(name), offences[0])
                self.assertIn(expected, offences[0])

    def test_accepts_files_at_the_limit(self):
        self.assertEqual(check_tree({**GOOD, "core/a.h": "\n" * 160, "core/a.cpp": "\n" * 450}), [])

    def test_architecture_lists_the_rooms_in_order(self):
        page = (Path(__file__).resolve().parents[2] / "ARCHITECTURE.md").read_text()
        for layer, rooms in check_layers.ROOMS.items():
            row = next(line for line in page.splitlines() if line.startswith(f"| `{layer}` |"))
            self.assertEqual(re.findall(r"(?:\| |\u2190 )`(\w+)`", row), [layer, *rooms])

    def test_refuses_a_missing_layer(self):
        files = {name: text for name, text in GOOD.items() if not name.startswith("launch/")}
        self.assertEqual(check_tree(files), ["launch: no such folder"])


if __name__ == "__main__":
    unittest.main()
