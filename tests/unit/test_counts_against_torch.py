"""Counts and lifetimes of backpropagation against what PyTorch counts and what its autograd keeps: golden, and live."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fasim.energy import count
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import ORDERS, StepSettings, live_bytes, peak_bytes

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "torch_counts.json").read_text(encoding="utf-8"))
# what runs within a second or two
LIVE_FLOPS = [row for row in GOLDEN["flops"] if row["step"] < 500_000_000]
FLOAT_BYTES = 4


def name_of(row):
    return f"{row['network']}-{row['batch_size']}"


def bp(row, **options):
    return training_step(Network.parse(row["network"]), "bp", StepSettings(row["batch_size"]), **options)


def elements(schedule, *classes):
    return peak_bytes(schedule, *classes) / FLOAT_BYTES


@pytest.mark.parametrize("row", GOLDEN["flops"], ids=name_of)
def test_torch_counts_two_operations_for_each_mac(row):
    """FLOPs of a step are 2 (2 F + E); down to the inputs the first layer's transport comes on top, as large as F there."""
    schedule = bp(row)
    counts = count(schedule)
    forward, error = counts.total("MAC", "forward"), counts.total("MAC", "error")
    first = sum(r.count for r in counts.operations if (r.kind, r.phase, r.layer) == ("MAC", "forward", 1))
    assert row["forward"] == 2 * forward
    assert row["step"] == 2 * counts.macs == 2 * (2 * forward + error)
    assert row["step_to_inputs"] == row["step"] + 2 * first


@pytest.mark.parametrize("row", GOLDEN["flops"], ids=name_of)
def test_fast_gradient_sign_goes_down_to_the_inputs(row):
    """Its clean pass is a forward pass and all of the transport; the step itself follows."""
    settings = StepSettings(row["batch_size"], fgsm=0.1)
    whole = count(training_step(Network.parse(row["network"]), "bp", settings)).macs
    clean = row["forward"] + (row["step_to_inputs"] - 2 * row["forward"])
    assert 2 * whole == row["step"] + clean


@pytest.mark.parametrize("row", GOLDEN["kept"], ids=name_of)
@pytest.mark.parametrize("fuse_by", ["none", "within_layer"])
@pytest.mark.parametrize("order_by", ORDERS)
def test_autograd_keeps_what_backpropagation_needs(row, order_by, fuse_by):
    """Of dense nets the stored activations are equal; of maps before pooling autograd keeps what the slopes need too."""
    schedule = bp(row, order_by=order_by, fuse_by=fuse_by)
    stored = elements(schedule, "act")
    if "c" in row["network"]:
        assert stored < row["act"]
        assert elements(schedule, "act", "map") == row["act"]
    else:
        assert row["places"] == 0
        assert stored == elements(schedule, "act", "map") == row["act"]
    assert schedule["output"].elements == row["output"]
    assert sum(t.elements for t in schedule.tensors.values() if t.name.startswith("pool_index.")) == row["places"]


@pytest.mark.parametrize("row", GOLDEN["kept"], ids=name_of)
def test_all_that_autograd_keeps_lives_when_the_error_arrives(row):
    """At the output error the activations, maps and places of maxima of the whole net are live, the output included."""
    schedule = bp(row)
    error = next(index for index, op in enumerate(schedule.ops) if op.kind == "ERROR")
    floats = live_bytes(schedule, "act", "map", "output")[error] / FLOAT_BYTES
    assert floats == row["act"] + row["output"]
    places = [t for t in schedule.of_class("slope") if t.name.startswith("pool_index.")]
    assert live_bytes(schedule, "slope")[error] == sum(tensor.nbytes for tensor in places)


@pytest.mark.parametrize("row", LIVE_FLOPS, ids=name_of)
def test_torch_still_counts_these_flops(row):
    pytest.importorskip("torch")
    from tests.golden.make_torch_counts import flops

    assert flops(row["network"], row["batch_size"]) == row


@pytest.mark.parametrize("row", GOLDEN["kept"], ids=name_of)
def test_torch_still_keeps_these_elements(row):
    pytest.importorskip("torch")
    from tests.golden.make_torch_counts import kept

    assert kept(row["network"], row["batch_size"]) == row


def test_golden_file_has_conv_and_dense_nets_at_both_batches():
    for table, batches in (("flops", 12), ("kept", 10)):
        rows = GOLDEN[table]
        assert len(rows) == batches
        assert {row["batch_size"] for row in rows} == {1, 64}
        assert {"c" in row["network"] for row in rows} == {True, False}
    assert len(LIVE_FLOPS) == 8
