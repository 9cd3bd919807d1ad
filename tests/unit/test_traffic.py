"""Words moved between arithmetic and memory: published accesses, small steps by hand, groups and registers."""

from __future__ import annotations

from collections import Counter

import pytest

from fasim.energy import count
from fasim.schedule import Op, Schedule, Tensor, Value
from tests.counting import DENSE_NETS, NETS, counted, step


@pytest.mark.parametrize("fuse_by", ["none", "within_layer"])
@pytest.mark.parametrize("net", DENSE_NETS)
def test_weight_accesses_at_n_1(net, fuse_by):
    """Closed form: forward reads all weights, bp reads all but the first layer's again, the update reads and writes."""
    golden = NETS[net]
    weights, transported = golden["weights"], golden["error"]

    def accesses(rule):
        return counted(net, rule, fuse_by=fuse_by).elements("weight")

    # within_layer joins gradient and update, which one pass at N = 1 is anyway; transport and update stay apart
    assert accesses("bp") == 3 * weights + transported
    assert accesses("fa") == accesses("dfa") == accesses("sdfa") == accesses("drtp") == 3 * weights


def test_weight_accesses_of_the_published_example():
    assert counted("784-1000-1000-10", "bp").elements("weight") == 6_392_000
    assert counted("784-1000-1000-10", "dfa").elements("weight") == 5_382_000
    feedback = {rule: counted("784-1000-1000-10", rule).elements("feedback") for rule in ("bp", "fa", "dfa", "drtp")}
    assert feedback == {"bp": 0, "fa": 1_010_000, "dfa": 20_000, "drtp": 2_000}


@pytest.mark.parametrize("net", ["784-500-10", "6x6x2-3c3-2p-5-3"])
def test_gradient_reaches_memory_unless_fused(net):
    sizes = [t for t in step(net, n=3).of_class("weight", "bias")]
    assert counted(net, n=3).elements("gradient") == 2 * sum(tensor.elements for tensor in sizes)
    assert counted(net, n=3, fuse_by="within_layer").elements("gradient") == 0


def test_master_is_read_and_written_and_the_copy_written():
    for n, fuse_by in ((1, "none"), (4, "none"), (4, "within_layer")):
        counts = counted("9-5-4-3", "dfa", n, "s8", fuse_by=fuse_by)
        weights = 45 + 20 + 12
        assert counts.elements("master") == 2 * weights
        # forward reads; the cast from the master writes, and does not read what the update has in hand
        assert counts.elements("weight") == 2 * weights
        assert counts.elements("bias") == 3 * (5 + 4 + 3)


def test_traffic_of_a_small_step_by_hand():
    # 4-3-2, N = 2, float, drtp with bce
    elements = Counter()
    for row in counted("4-3-2", "drtp", 2).traffic:
        elements[row.cls, row.write] += row.elements
    assert elements == {
        ("act", False): 8 + 6 + 6 + 6 + 8,  # layers 1 and 2, slope of act.1, gradients of layers 2 and 1
        ("act", True): 6,
        ("preact", True): 6 + 4,
        ("preact", False): 6 + 4,
        ("output", True): 4,
        ("output", False): 4,
        ("label", False): 2 + 2,  # error and SELECT
        ("feedback", False): 6,  # a row of 3 for each of 2 samples, the matrix holds 2 rows
        ("signal", True): 6,
        ("signal", False): 6,
        ("slope", True): 6,
        ("slope", False): 6,
        ("error", True): 4,
        ("error", False): 4 + 4,  # weight and bias of layer 2
        ("delta", True): 6,
        ("delta", False): 6 + 6,
        ("gradient", True): 23,
        ("gradient", False): 23,
        ("weight", True): 18,
        ("weight", False): 18 + 18,
        ("bias", True): 5,
        ("bias", False): 5 + 5,
    }


def test_select_reads_no_more_rows_than_samples_or_labels():
    for n, rows in ((1, 1), (2, 2), (7, 3)):
        assert counted("9-5-4-3", "drtp", n).elements("feedback") == rows * (5 + 4)
        assert counted("6x6x2-3c3-2p-5-3", "drtp", n).elements("feedback") == rows * (108 + 5)


def test_words_are_filled():
    rows = counted("9-5-4-3", n=2, datapath="s8").traffic
    words = {(row.tensor, row.write): (row.elements, row.words) for row in rows}
    assert words["weight.1", False] == (45, 6)  # 360 bits
    assert words["master.1", True] == (45, 12)  # 720 bits
    assert words["preact.1", True] == (10, 2)  # 100 bits
    narrow = count(step("9-5-4-3", n=2, datapath="s8"), word_bits=16)
    assert {row.words for row in narrow.traffic if row.tensor == "weight.1"} == {23}


def test_group_reads_a_value_once_and_never_its_own():
    tensors = {
        "x": Tensor("x", "act", "NJ", (2, 4), "input"),
        "y": Tensor("y", "act", "NJ", (2, 4)),
        "z": Tensor("z", "act", "NJ", (2, 4)),
    }
    relu = {"function": "relu"}

    def accesses(*groups):
        chain = (("x", "y"), ("x", "z"), ("y", "out"))
        shapes = tensors | {"out": Tensor("out", "output", "NJ", (2, 4))}
        ops = tuple(
            Op("ACTIVATE", (Value(a),), (Value(b),), "forward", 1, relu, group=group)
            for (a, b), group in zip(chain, groups, strict=True)
        )
        return Counter((row.tensor, row.write) for row in count(Schedule(shapes, ops, 2, "4-4", "none")).traffic)

    writes = {("y", True): 1, ("z", True): 1, ("out", True): 1}
    assert accesses("", "", "") == writes | {("x", False): 2, ("y", False): 1}
    assert accesses("a", "a", "a") == writes | {("x", False): 1}
    assert accesses("a", "b", "a") == writes | {("x", False): 2}
    assert accesses("a", "b", "c") == writes | {("x", False): 2, ("y", False): 1}


def test_registers_tables_and_scalars_move_nothing():
    for datapath in ("float32", "s8"):
        schedule = step("9-5-4-3", "dfa", 3, datapath, fuse_by="within_layer")
        moved = {row.tensor for row in count(schedule).traffic}
        assert moved
        for name in moved:
            assert schedule[name].storage in ("state", "input", "temp")
            assert schedule[name].cls not in ("scalar", "table", "accumulator")
