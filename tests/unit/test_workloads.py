"""Exported workloads: what SCALE-Sim and ZigZag would read is the schedule's products, sizes and bits."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fasim.energy.gemms import gemms
from fasim.energy.traffic import transfers
from fasim.energy.workloads import scalesim_csv, zigzag_workload
from fasim.fixedpoint import Fixed
from tests.counting import SMALL, step
from tests.schedules import DENSE_RULES, RULES_AND_DATAPATHS

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "zigzag.json").read_text(encoding="utf-8"))
RUNS = {row["name"]: row for row in GOLDEN["runs"]}
# what ZigZag's validator accepts, 3.9.1
EQUATION = re.compile(r"^O(\[\w+\])+\s*\+?\s*=\s*\w(\[\w+\])+\s*[*+]\s*\w(\[(?:\w+)?\])+\s*$")
KEYS = ["id", "name", "operator_type", "equation", "loop_dims", "loop_sizes", "operand_precision", "operand_source"]
CONV_KEYS = [*KEYS[:6], "dimension_relations", "pr_loop_dims", "pr_loop_sizes", "padding", *KEYS[6:]]
# the golden product, and which product of which step it is
SAME = {
    "forward.1 b1": ("784-500-10", "bp", 1, "forward.1"),
    "forward.1 b64": ("784-500-10", "bp", 64, "forward.1"),
    "forward.2 b1": ("784-500-10", "bp", 1, "forward.2"),
    "input error b1": ("5-784-500-10", "bp", 1, "error.1"),
    "feedback.1 b1": ("784-500-10", "dfa", 1, "feedback.1"),
    "feedback.1 b64": ("784-500-10", "dfa", 64, "feedback.1"),
    "gradient.1 b1": ("784-500-10", "drtp", 1, "gradient.1"),
    "gradient.1 b64": ("784-500-10", "drtp", 64, "gradient.1"),
    "conv 28x28x1-32c5p2 b1": ("28x28x1-32c5p2-10", "bp", 1, "forward.1"),
    "conv error 8x8x3-16c5p2 b2": ("8x8x3-3c5p2-16c5p2-10", "bp", 2, "error.1"),
    "conv gradient 8x8x3-16c5p2 b2": ("8x8x3-3c5p2-16c5p2-10", "bp", 2, "gradient.2"),
}


def entry(text):
    """A value of the few forms of YAML that the export writes, all of which JSON has too once names are quoted."""
    if text[0] not in "[{":
        return int(text) if text.isdecimal() else text
    return json.loads(re.sub(r'(?<!")\b([A-Za-z_]\w*)\b(?=[,\]:])', r'"\1"', text))


def layers_of(text):
    layers = []
    for line in text.splitlines():
        if line.startswith("- "):
            layers.append({})
        key, value = re.fullmatch(r"[- ] (\w+): (.+)", line).groups()
        assert key not in layers[-1]
        layers[-1][key] = entry(value)
    return layers


def exported(net, rule, n=1, datapath="s8", **options):
    schedule = step(net, rule, n, datapath, **options)
    products = gemms(schedule)
    layers = layers_of(zigzag_workload(schedule))
    assert [layer["name"] for layer in layers] == [gemm.name for gemm in products]
    return schedule, {gemm.name: (gemm, layer) for gemm, layer in zip(products, layers, strict=True)}


def words(schedule, op):
    """DRAM words of the operands and the result of an op, by their place."""
    moved = {(row.tensor, row.write): row.words for row in transfers(schedule) if row.op == op}
    reads = [moved[value.tensor, False] for value in schedule.ops[op].reads[:2]]
    return (*reads, moved[schedule.ops[op].writes[0].tensor, True])


@pytest.mark.parametrize("rule", ["bp", "dfa", "drtp", "lafs"])
def test_scalesim_rows_are_the_products(rule):
    for net in SMALL:
        schedule = step(net, rule, 2)
        text = scalesim_csv(schedule)
        assert text.endswith("\n")
        head, *rows = csv.reader(io.StringIO(text))
        assert head == ["Layer", "M", "N", "K", ""]
        expected = [[gemm.name, str(gemm.m), str(gemm.n), str(gemm.k), ""] for gemm in gemms(schedule)]
        assert rows == expected
        assert len(rows) >= 3


@pytest.mark.parametrize(("rule", "datapath"), RULES_AND_DATAPATHS)
def test_zigzag_layers_are_valid_and_have_all_products(rule, datapath):
    for net in SMALL:
        if rule in DENSE_RULES and "c" in net:
            continue
        _, products = exported(net, rule, 2, datapath)
        for number, (gemm, layer) in enumerate(products.values()):
            assert list(layer) == (CONV_KEYS if gemm.conv else KEYS)
            assert EQUATION.match(layer["equation"])
            assert layer["operator_type"] == ("Conv" if gemm.conv else "Gemm")
            assert layer["id"] == number
            assert layer["operand_source"] == {"I": number, "W": number}
            total = 1
            for size in layer["loop_sizes"]:
                total *= size
            assert total == gemm.products
            used = {name.upper() for name in re.findall(r"\[(\w+)\]", layer["equation"])}
            assert used == {*layer["loop_dims"], *layer.get("pr_loop_dims", ())}
            bits = layer["operand_precision"]
            assert bits["O_final"] <= bits["O"]
            if datapath == "float32":
                assert bits["O"] == bits["O_final"] == 32


@pytest.mark.parametrize(("name", "where"), SAME.items(), ids=SAME)
def test_exports_are_what_zigzag_ran_and_move_its_dram_words(name, where):
    *net, product = where
    schedule, products = exported(*net)
    gemm, layer = products[product]
    golden = RUNS[name]
    assert dict(zip(layer["loop_dims"], layer["loop_sizes"], strict=True)) == golden["sizes"]
    assert gemm.products == golden["macs"]
    assert [layer["operand_precision"][key] for key in "IW"] == [golden["bits"][key] for key in "IW"]
    # the same sums, stored with as many bits as ZigZag was told
    op = schedule.ops[gemm.op]
    out = op.writes[0].tensor
    stored = replace(schedule[out], format=Fixed(golden["bits"]["O_final"], 0), storage="temp")
    left, right, written = words(replace(schedule, tensors=schedule.tensors | {out: stored}), gemm.op)
    inputs, weights = (right, left) if op.kind == "GRAD_CONV" else (left, right)
    assert {"I": inputs, "W": weights, "O": written} == golden["dram_words"]


def test_bits_are_those_of_the_tensors_by_hand():
    # s8: inputs and weights of 8 bits; 9 products of 15 fraction bits need 20, their cast keeps 10
    _, products = exported("9-5-3", "sdfa", 2, feedback="uniform+ternary")
    assert products["forward.1"][1]["operand_precision"] == {"I": 8, "W": 8, "O": 20, "O_final": 10}
    feedback = products["feedback.1"][1]["operand_precision"]
    assert (feedback["I"], feedback["W"]) == (1, 2)
    assert products["gradient.1"][1]["operand_precision"] == {"I": 8, "W": 8, "O": 17, "O_final": 17}


def test_a_convolution_names_the_rows_that_its_windows_reach():
    # 9 rows, kernel 4, stride 3, padding 1: 3 places reach from row -1 to row 8, all rows, 1 before and none after;
    # 8 columns: 3 places reach column 8, 1 before and 1 after
    _, products = exported("9x8x2-4c4s3p1-3", "bp", 2)
    layer = products["forward.1"][1]
    assert layer["dimension_relations"] == ["iy=3*oy+1*fy", "ix=3*ox+1*fx"]
    assert layer["loop_sizes"] == [2, 4, 2, 3, 3, 4, 4]
    assert layer["pr_loop_sizes"] == [9, 8]
    assert layer["padding"] == [[1, 0], [1, 1]]
    # 8 rows and 6 columns, kernel 3, stride 2 without padding: row 7 and column 5 are never read
    _, products = exported("8x6x1-2c3s2p0-3", "bp", 2)
    layer = products["forward.1"][1]
    assert layer["loop_sizes"] == [2, 2, 1, 3, 2, 3, 3]
    assert layer["pr_loop_sizes"] == [7, 5]
    assert layer["padding"] == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("net", "bits"), [("5-4-3", (5, 8)), ("8x8x1-2c3-3", (8, 5))])
def test_delta_is_i_of_a_dense_gradient_and_w_of_a_convolution(net, bits):
    schedule = step(net, "bp", 2, "s8")
    delta = replace(schedule["delta.1"], format=Fixed(5, 4))
    layers = layers_of(zigzag_workload(replace(schedule, tensors=schedule.tensors | {"delta.1": delta})))
    precision = next(layer["operand_precision"] for layer in layers if layer["name"] == "gradient.1")
    assert (precision["I"], precision["W"]) == bits
