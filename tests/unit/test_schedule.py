"""A training step as a list of ops: validation, order, locking and transport, read off the list."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

from fasim import rules
from fasim.errors import ConfigError, ScheduleError
from fasim.network import Network
from fasim.schedule import (
    FUSIONS,
    ORDERS,
    Op,
    Schedule,
    StepSettings,
    Tensor,
    Value,
    dependencies,
    fuse,
    order,
    peak_bytes,
    validate,
)
from fasim.schedule.order import ancestors
from fasim.schedule.show import properties
from tests.schedules import ALL_RULES, DATAPATHS, NETS, RULES, RULES_AND_DATAPATHS, THREE, position, step


def test_all_rules_are_here() -> None:
    assert sorted(rules.names()) == sorted(ALL_RULES)
    assert rules.names()[:6] == ["bp", "fa", "dfa", "sdfa", "drtp", "shallow"]


# --- validation ---------------------------------------------------------------------------------


def tensors(**storages: str) -> dict[str, Tensor]:
    """Return (2, 3) tensors of class act."""
    return {name: Tensor(name, "act", "NJ", (2, 3), storage) for name, storage in storages.items()}


def activate(source: Value | str, target: Value | str, **options: object) -> Op:
    """Return an op that reads one value and writes another."""
    read, write = (Value(v) if isinstance(v, str) else v for v in (source, target))
    return replace(Op("ACTIVATE", (read,), (write,), "forward", 1), **options)  # type: ignore[arg-type]


def cast(source: Value | str, target: Value | str, **options: object) -> Op:
    """Return the same as a cast, which may have a site."""
    return replace(activate(source, target, **options), kind="REQUANT")


def schedule_of(known: dict[str, Tensor], *ops: Op) -> Schedule:
    return Schedule(known, ops, 2, "none", "none")


def test_a_small_schedule_is_valid() -> None:
    known = tensors(a="input", b="temp", c="temp")
    schedule = schedule_of(known, activate("a", "b"), activate("b", "c"))
    assert validate(schedule) is schedule


KNOWN = tensors(a="input", b="temp", s="state")
WRONG_OPS = {
    "read before write": (
        [activate("b", "a")],
        "op 0 ACTIVATE reads b, but nothing has written it; order the ops by dependencies",
    ),
    "double write": (
        [activate("a", "b"), activate("a", "b")],
        "op 1 ACTIVATE writes b, but version 1 comes next",
    ),
    "write of what is given": ([activate("b", "a")], "op 0 ACTIVATE reads b, but nothing"),
    "skipped version": (
        [activate("a", Value("s", 2))],
        "op 0 ACTIVATE writes s'2, but version 1 comes next",
    ),
    "read of an overwritten version": (
        [activate("a", Value("s", 1)), activate("s", "b")],
        "op 1 ACTIVATE reads s, but it stands at version 1; order the ops by dependencies",
    ),
    "read of a version to come": (
        [activate(Value("s", 1), "b"), activate("a", Value("s", 1))],
        "op 0 ACTIVATE reads s'1, but it stands at version 0; order the ops by dependencies",
    ),
    "unknown kind": ([activate("a", "b", kind="SQUEEZE")], "op 0: kind 'SQUEEZE' is not known"),
    "unknown phase": (
        [activate("a", "b", phase="later")],
        "op 0 ACTIVATE: phase 'later' is not known",
    ),
    "operand count": (
        [activate("a", "b", reads=(Value("a"), Value("s")))],
        "op 0 ACTIVATE: 2 reads and 1 writes do not fit the kind",
    ),
    "unknown tensor": ([activate("a", "nowhere")], "op 0 ACTIVATE: there is no tensor 'nowhere'"),
    "unknown scalar": (
        [activate("a", "b", scalars=(Value("rate"),))],
        "op 0 ACTIVATE: there is no tensor 'rate'",
    ),
    "duplicate site": (
        [cast("a", "b", site="here"), cast("b", Value("s", 1), site="here")],
        "op 1 REQUANT: site 'here' is used twice",
    ),
    "site of no cast": (
        [activate("a", "b", site="here")],
        "op 0 ACTIVATE: has the site 'here', but only what casts, updates or draws has one",
    ),
}


@pytest.mark.parametrize(("ops", "message"), WRONG_OPS.values(), ids=WRONG_OPS)
def test_validate_names_the_op_at_fault(ops: list[Op], message: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        validate(schedule_of(KNOWN, *ops))
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor("b", "thing", "NJ", (2, 3)), "class 'thing'"),
        (Tensor("b", "act", "NJ", (2, 3), "cloud"), "storage 'cloud'"),
        (Tensor("b", "map", "NHW", (2, 3, 3, 1)), "axes 'NHW' do not fit shape"),
    ],
)
def test_validate_checks_tensors(tensor: Tensor, message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        validate(schedule_of({"b": tensor}))


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("bp", "act.0"),
        ("bp", "weight.2"),
        ("bp", "bias.1"),
        ("bp", "preact.2"),
        ("bp", "act.1"),
        ("bp", "output"),
        ("bp", "slope.1"),
        ("bp", "signal.1"),
        ("bp", "delta.2"),
        ("bp", "gradient.weight.1"),
        ("bp", "gradient.bias.2"),
        ("fa", "feedback.1"),
        ("dfa", "feedback.2"),
        ("sdfa", "sign"),
        ("drtp", "feedback.1"),
        ("drtp", "signal.2"),
    ],
)
@pytest.mark.parametrize("datapath", ["float32", "s8"])
def test_validate_catches_a_wrong_shape(rule: str, name: str, datapath: str) -> None:
    schedule = step(rule, datapath=datapath, settings=StepSettings(4, loss="mse"))
    tensor = schedule[name]
    shape = (*tensor.shape[:-1], tensor.shape[-1] + 1)
    broken = replace(schedule, tensors=schedule.tensors | {name: replace(tensor, shape=shape)})
    with pytest.raises(ScheduleError, match=r"shapes .* do not fit"):
        validate(broken)


@pytest.mark.parametrize(("rule", "datapath"), RULES_AND_DATAPATHS)
def test_validate_catches_any_op_moved_before_what_it_needs(rule: str, datapath: str) -> None:
    """Reversing an op with the one that it depends on is seen at every place of a step."""
    schedule = step(rule, datapath=datapath)
    caught = 0
    for index, before in enumerate(dependencies(schedule.ops)):
        for other in before:
            ops = list(schedule.ops)
            ops.insert(other, ops.pop(index))
            with pytest.raises(ScheduleError):
                validate(replace(schedule, ops=tuple(ops)))
            caught += 1
    assert caught > 10


# --- order --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("datapath", DATAPATHS)
def test_every_order_of_every_step_is_valid(rule: str, datapath: str) -> None:
    """training_step validates; here: orders hold the same ops, and evaluation validates too."""
    for net, hook, batch in itertools.product(NETS, ("pre_pool", "post_pool"), (1, 4)):
        settings = StepSettings(batch, hook=hook)
        variants = [
            step(rule, net, datapath, settings, order_by=how, fuse_by=fusion)
            for how, fusion in itertools.product(ORDERS, FUSIONS[:2])
        ]
        first = {(op.kind, op.reads, op.writes) for op in variants[0].ops}
        for schedule in variants:
            assert validate(schedule) is schedule
            assert {(op.kind, op.reads, op.writes) for op in schedule.ops} == first
            assert len(schedule.ops) == len(variants[0].ops)
        assert [variants[0].order, variants[-1].order] == ["eager", "phased"]


@pytest.mark.parametrize("rule", RULES)
def test_phased_runs_phase_after_phase(rule: str) -> None:
    phases = [op.phase for op in step(rule, order_by="phased").ops]
    assert [phase for phase, _ in itertools.groupby(phases)] == [
        "forward",
        "error",
        "gradient",
        "update",
    ]


def test_a_circle_is_refused() -> None:
    known = tensors(a="temp", b="temp", c="temp")
    for ops in (
        (activate("a", "b"), activate("b", "a")),
        (activate("a", "b"), activate("b", "c"), activate("c", "a")),
    ):
        for how in ORDERS:
            with pytest.raises(ScheduleError, match="depend on each other in a circle"):
                order(schedule_of(known, *ops), how)


def test_a_circle_through_an_overwritten_version_is_refused() -> None:
    """The reader of s needs t, t needs the new s - which must wait for every reader of s."""
    known = tensors(s="state", t="temp", u="temp")
    reader = replace(activate("s", "u"), kind="DELTA", reads=(Value("s"), Value("t")))
    ops = (activate("s", Value("s", 1)), activate(Value("s", 1), "t"), reader)
    for how in ORDERS:
        with pytest.raises(ScheduleError, match="depend on each other in a circle"):
            order(schedule_of(known, *ops), how)


def test_two_writers_of_one_version_are_refused() -> None:
    known = tensors(a="input", b="temp")
    with pytest.raises(ScheduleError, match="b is written twice, by ops 0 and 1"):
        dependencies(schedule_of(known, activate("a", "b"), activate("a", "b")).ops)


def test_unknown_orders_and_fusions_are_refused() -> None:
    schedule = step("bp")
    with pytest.raises(ConfigError, match=r"unknown order 'eagre': .*did you mean 'eager'\?"):
        order(schedule, "eagre")
    with pytest.raises(ConfigError, match="unknown fusion 'all': there are deferred, none, within_layer"):
        fuse(schedule, "all")


@pytest.mark.parametrize("datapath", ["float32", "s8"])
def test_drtp_updates_a_layer_before_the_next_one_runs(datapath: str) -> None:
    """The one rule that is update-unlocked: 'eager' follows from the dependencies alone."""
    for rule in RULES:
        schedule = step(rule, datapath=datapath)
        early = [
            layer
            for layer in (1, 2)
            if rule != "shallow" and position(schedule, "UPDATE", layer) < position(schedule, "DENSE", layer + 1)
        ]
        assert early == ([1, 2] if rule == "drtp" else [])


@pytest.mark.parametrize("datapath", ["float32", "s8"])
@pytest.mark.parametrize(("rule", "locked"), [("bp", True), ("fa", True), ("dfa", True), ("sdfa", True), ("drtp", False)])
def test_update_locking_follows_from_the_list(rule: str, locked: bool, datapath: str) -> None:
    schedule = step(rule, datapath=datapath)
    error = position(schedule, "ERROR", 3)
    for layer, group in itertools.product((1, 2), ("weight", "bias")):
        needed = ancestors(schedule)[position(schedule, "UPDATE", layer, group)]
        assert (error in needed) is locked
    assert error in ancestors(schedule)[position(schedule, "UPDATE", 3)]


@pytest.mark.parametrize(("rule", "locked"), [("bp", True), ("fa", True), ("dfa", False), ("sdfa", False)])
def test_backward_locking_follows_from_the_list(rule: str, locked: bool) -> None:
    """Whether the delta of layer 1 waits for the delta of layer 2."""
    schedule = step(rule)
    assert (position(schedule, "DELTA", 2) in ancestors(schedule)[position(schedule, "DELTA", 1)]) is locked


def test_memory_of_drtp_does_not_grow_with_depth() -> None:
    """What lives for acts and deltas: DRTP frees a layer's at once, under the others every act waits for the error."""
    classes = ("act", "preact", "slope", "signal", "delta")

    def peak(rule: str, hidden: int, how: str) -> float:
        return peak_bytes(step(rule, f"60-{hidden}x50-10", order_by=how), *classes)

    act = 4 * 50 * 4
    assert peak("drtp", 8, "eager") == peak("drtp", 4, "eager")
    assert peak("drtp", 8, "phased") - peak("drtp", 4, "phased") >= 4 * act
    for rule in ("bp", "fa", "dfa", "sdfa"):
        for how in ORDERS:
            assert peak(rule, 8, how) - peak(rule, 4, how) >= 4 * act


# --- feedback and weight transport --------------------------------------------------------------


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("rule", RULES)
def test_number_of_feedback_matrices(rule: str, net: str) -> None:
    """Layers - 1, each read once; bp and shallow have none."""
    schedule = step(rule, net)
    hidden = len(Network.parse(net).segments) - 1
    read = [value.tensor for op in schedule.ops for value in op.reads if schedule[value].cls == "feedback"]
    expected = [] if rule in ("bp", "shallow") else [f"feedback.{n}" for n in range(1, hidden + 1)]
    assert sorted(read) == expected
    assert [tensor.name for tensor in schedule.of_class("feedback")] == list(dict.fromkeys(reversed(expected)))


@pytest.mark.parametrize("datapath", ["float32", "s8"])
@pytest.mark.parametrize("net", NETS)
def test_only_bp_transports_weights(net: str, datapath: str) -> None:
    for rule in RULES:
        schedule = step(rule, net, datapath)
        readers = [
            (op.kind, op.layer, value)
            for op in schedule.ops
            for value in op.reads
            if schedule[value].cls == "weight" and op.phase == "error"
        ]
        if rule != "bp":
            assert readers == []
            continue
        hidden = len(Network.parse(net).segments) - 1
        assert sorted((layer, value) for _, layer, value in readers) == [
            (layer, Value(f"weight.{layer + 1}")) for layer in range(1, hidden + 1)
        ]
        assert {kind for kind, _, _ in readers} <= {"PROJECT", "PROJECT_CONV"}


@pytest.mark.parametrize("rule", RULES)
def test_transport_reads_the_matrix_of_its_layer(rule: str) -> None:
    """Which signal goes through which matrix to which layer."""
    schedule = step(rule)
    found = {
        op.layer: tuple(value.tensor for value in op.reads) for kind in ("PROJECT", "SELECT") for op in schedule.find(kind)
    }
    assert (
        found
        == {
            "bp": {1: ("delta.2", "weight.2"), 2: ("error", "weight.3")},
            "fa": {1: ("delta.2", "feedback.1"), 2: ("error", "feedback.2")},
            "dfa": {1: ("error", "feedback.1"), 2: ("error", "feedback.2")},
            "sdfa": {1: ("sign", "feedback.1"), 2: ("sign", "feedback.2")},
            "drtp": {1: ("label", "feedback.1"), 2: ("label", "feedback.2")},
            "shallow": {},
        }[rule]
    )


@pytest.mark.parametrize(
    ("rule", "shapes"),
    [("fa", [(4, 5), (3, 4)]), ("dfa", [(3, 5), (3, 4)]), ("drtp", [(3, 5), (3, 4)])],
)
def test_shapes_and_bounds_of_feedback(rule: str, shapes: list[tuple[int, int]]) -> None:
    schedule = step(rule)
    for layer, shape in enumerate(shapes, 1):
        tensor = schedule[f"feedback.{layer}"]
        assert tensor.shape == shape
        assert tensor.bound == math.sqrt(6 / shape[1])


@pytest.mark.parametrize("rule", ["bp", "dfa"])
def test_a_feedback_family_is_read_whether_or_not_the_rule_uses_it(rule):
    with pytest.raises(ConfigError, match="unknown feedback 'unifrom'"):
        step(rule, settings=StepSettings(feedback="unifrom"))


def test_a_low_rank_matrix_is_one_matrix() -> None:
    # 6-5-4-3: (3, 2) and (2, 5) into the first hidden layer, (3, 2) and (2, 4) into the second
    lines = properties(step("dfa", THREE, settings=StepSettings(feedback="gaussian+rank:2")))
    assert "feedback matrices: 2, 30 elements" in lines


def test_a_rule_goes_up_or_down() -> None:
    with pytest.raises(ConfigError, match="unknown direction of rule bp 'upwards'"):
        replace(rules.get("bp"), direction="upwards")
