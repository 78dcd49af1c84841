#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""fill_map.py BUS: tells the central behind this socket of the synthetic environment of 5,000 containers, says "ready", and holds the
nodes until its standard input ends; a line on it makes one second happen."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from central_env import Node  # noqa: E402
from map_synthetic import Synthetic  # noqa: E402


class Bus:
    def node(self, name):
        return Node(sys.argv[1], name)


environment = Synthetic(seed=1)
speakers = environment.fill(Bus())
print("ready", flush=True)
for _ in sys.stdin:
    environment.live(speakers)
    print("told", flush=True)
