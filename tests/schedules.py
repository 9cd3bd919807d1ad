"""Training steps that several tests read."""

from __future__ import annotations

from fasim import rules
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.schedule import Schedule, StepSettings

# rules that transport one thing alone, with a fixed-point form, and on any layer
RULES = ("bp", "fa", "dfa", "sdfa", "drtp", "shallow")
# tested in float32 (hybrid has a fixed-point form too); the second group is stated for dense layers
FLOAT_RULES = ("kp", "dkp", "lafs", "hybrid")
DENSE_RULES = ("ifa", "strategy1", "strategy2", "strategy3", "strategy1_aux", "strategy2_aux", "strategy3_aux")
ALL_RULES = (*RULES, *FLOAT_RULES, *DENSE_RULES)
RULES_AND_DATAPATHS = [
    *((rule, "float32") for rule in ALL_RULES),
    *((rule, "s8") for rule in (*RULES, "hybrid")),
]
DATAPATHS = ("float32", "s8", "s16", "s8_stoch")
NETS = ("6-3", "6-5-3", "6-5-4-3", "6-5-4-7-3", "8x8x1-4c3-2p-5-3", "9x9x2-4c3s2-3c3p0-2p-3")
THREE = "6-5-4-3"


def step(
    rule: str,
    net: str = THREE,
    datapath: str = "float32",
    settings: StepSettings | None = None,
    **options: str,
) -> Schedule:
    """Return one training step, ready to run."""
    network = Network.parse(net)
    return rules.training_step(network, rule, settings or StepSettings(4), load_datapath(datapath), **options)


def position(schedule: Schedule, kind: str, layer: int, group: str = "weight") -> int:
    """Return where the op of a kind and layer stands; of an update, the one of its group."""
    places = [
        index
        for index, op in enumerate(schedule.ops)
        if op.kind == kind and op.layer == layer and op.attrs.get("group", group) == group
    ]
    assert len(places) == 1
    return places[0]
