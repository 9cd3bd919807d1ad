"""Counted training steps that several tests read."""

from __future__ import annotations

import json
from pathlib import Path

from fasim.energy import OPERATIONS, count
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings

GOLDEN = json.loads((Path(__file__).parent / "golden" / "macs.json").read_text(encoding="utf-8"))
NETS = {net["network"]: net for net in GOLDEN["nets"]}
DENSE_NETS = [name for name in NETS if "x" not in name]
SMALL = ("4-3-2", "9-5-4-3", "7-3x6-2", "6x6x2-3c3-2p-5-3", "8x7x1-2c3s2-3c3p0-2p-4")


def step(net, rule="bp", n=1, datapath="float32", *, fuse_by="none", hidden="tanh", output="sigmoid", **settings):
    network = Network.parse(net, hidden=hidden, output=output)
    return training_step(network, rule, StepSettings(batch_size=n, **settings), load_datapath(datapath), fuse_by=fuse_by)


def counted(*args, **options):
    return count(step(*args, **options))


def totals(counts, phase=None):
    return {kind: number for kind in OPERATIONS if (number := counts.total(kind, phase))}
