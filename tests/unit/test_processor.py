"""Processors: every number has its provenance, nodes are not mixed, and what is wrong is named in one line."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fasim.energy
from fasim.energy import Constant, Level, Operations, Processor, Transfer, estimate, load_processor
from fasim.energy.hierarchy import Move
from fasim.energy.price import Prices
from fasim.energy.processor import OPERATION_CONSTANTS, TIMING_CONSTANTS
from fasim.errors import ConfigError, ProcessorError

GENERIC = (Path(fasim.energy.__file__).parent / "processors" / "generic_45nm.toml").read_text(encoding="utf-8")
ADDITION = """[constants.int_add_bit]
low = 0.003
typical = 0.004
high = 0.006
unit = "pJ/bit"
source = "a book"
kind = "published"
"""
CLAIM = """[[published]]
what = "power"
value = 3
unit = "mW"
source = "a paper"
kind = "measured"
"""
LEVEL = """[[levels]]
name = "sram"
capacity = {value = 1024, unit = "bytes", source = "a book", kind = "published"}
word = {value = 32, unit = "bits", source = "a book", kind = "published"}
read = {value = 5.0, unit = "pJ/word", source = "a book", kind = "published"}
write = {value = 6.0, unit = "pJ/word", source = "a book", kind = "published"}
"""
EXTERNAL = LEVEL.replace('name = "sram"', 'name = "dram"\ntechnology = "lpddr4"\nexternal = true')
TIMING = 'clock = {value = 1e8, unit = "Hz", source = "a paper", kind = "published"}\n'
PORTS = 'words_per_cycle = {value = 12, unit = "words/cycle", source = "a book", kind = "published"}\n'
HEAD = 'name = "mine"\ndescription = "my processor"\nnode_nm = 28\n'
WHOLE = HEAD + "\n" + ADDITION + "\n" + LEVEL + "\n[timing]\n" + TIMING + "\n" + CLAIM


def load(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_processor(path)


def energy(kind, bits_a=32, bits_b=32, accumulator=32, *, float32=False, end="typical"):
    """Energy of one operation in pJ."""
    processor = load_processor("generic_45nm").with_dram("")
    prices = Prices(processor)
    paid = prices.operations([Operations(0, "forward", 1, kind, 1, bits_a, bits_b, accumulator, float32)])
    return float(paid @ dict(zip(("low", "typical", "high"), processor.ends(paid), strict=True))[end])


def test_generic_45nm_is_what_it_says():
    # Horowitz, ISSCC 2014: 8 and 32 bits
    assert energy("MUL", 8, 8) == pytest.approx(0.2, rel=1e-6)
    assert energy("MUL", 32, 32) == pytest.approx(3.1, rel=1e-6)
    assert energy("ADD", accumulator=32) == pytest.approx(0.1)
    assert energy("MAC", 8, 8, 32) == pytest.approx(0.3)
    assert energy("MUL", float32=True) == 3.7
    assert energy("MAC", float32=True) == pytest.approx(4.6)
    assert energy("CMP", accumulator=16) == energy("ADD", accumulator=16) == pytest.approx(0.05)
    assert energy("CMP", float32=True) == energy("ADD", float32=True) == 0.9
    assert energy("DIV", float32=True) == pytest.approx(7.1 * 3.7)
    assert energy("SHIFT", accumulator=16) == pytest.approx(0.3 * energy("ADD", accumulator=16))
    assert energy("RNG_BITS", 0, 0, 1) == pytest.approx(0.29 / 32, rel=0.01)
    assert energy("LUT", accumulator=8) == pytest.approx(10 / 64 * math.sqrt(1 / 8) * 8, rel=1e-2)
    # Aladdin 40 nm
    assert energy("ADD", accumulator=32, end="high") == pytest.approx(0.21)
    assert energy("MUL", 32, 32, end="high") == pytest.approx(12.68 + 32 * 0.001041666667)


@pytest.mark.parametrize(("bits", "expected"), [(2, 0.014), (4, 0.052), (6, 0.114), (12, 0.444), (16, 0.783), (24, 1.75)])
def test_multiplier_law(bits, expected):
    assert energy("MUL", bits, bits) == pytest.approx(expected, abs=6e-4)


def test_multiplier_of_mixed_widths_lies_at_the_geometric_mean():
    assert energy("MUL", 4, 16) == pytest.approx(energy("MUL", 8, 8))
    assert energy("MUL", 4, 16) == energy("MUL", 16, 4)


def test_integer_division_is_a_subtraction_and_a_shift_for_each_bit():
    one = energy("ADD", accumulator=12) + energy("SHIFT", accumulator=12)
    assert energy("DIV", accumulator=12) == pytest.approx(12 * one)


def test_words_are_paid_at_the_port_that_they_cross():
    processor = load_processor("generic_45nm").with_dram("hbm2")
    prices = Prices(processor)
    transfer = Transfer(0, "forward", 1, "weight", "weight.1", False, 100, 8)
    moves = [Move(transfer, 1, False, 13), Move(transfer, 2, True, 5)]
    paid = dict(zip(prices.names, prices.moves(moves), strict=True))
    assert {name: amount for name, amount in paid.items() if amount} == {"sram.read": 13, "dram.write": 5}
    typical = processor.ends(prices.moves(moves))[1]
    assert prices.moves(moves) @ typical == pytest.approx(13 * 100 + 5 * 249.6)


@pytest.mark.parametrize("kind", ["MAC", "MUL", "ADD", "CMP", "SHIFT", "LUT", "DIV"])
def test_energy_rises_with_every_width(kind):
    widths = [(a, b, c) for a in (4, 9, 16) for b in (4, 9, 16) for c in (8, 20, 40)]
    for end in ("low", "typical", "high"):
        table = {width: energy(kind, *width, end=end) for width in widths}
        for width, pj in table.items():
            wider = [other for other in widths if np.all(np.array(other) >= width)]
            assert all(table[other] >= pj for other in wider)
        assert table[16, 16, 40] > table[4, 4, 8] or (kind, end) == ("SHIFT", "low")


def test_unknown_preset_names_the_known_and_the_nearest():
    with pytest.raises(ConfigError) as caught:
        load_processor("generic45nm")
    message = str(caught.value)
    assert "unknown processor 'generic45nm'" in message
    assert "did you mean 'generic_45nm'" in message
    assert ".toml" in message
    assert "\n" not in message


def test_a_whole_file_is_read(tmp_path):
    mine = load(tmp_path, WHOLE)
    assert (mine.name, mine.node_nm, mine.validation) == ("mine", 28, "not validated")
    assert mine.constants == {"int_add_bit": Constant(0.003, 0.004, 0.006, "pJ/bit", "a book", "published")}
    (sram,) = mine.levels
    assert (sram.name, sram.capacity_bytes, sram.word_bits, sram.read.typical, sram.write.high) == (
        "sram",
        1024,
        32,
        5.0,
        6.0,
    )
    assert (sram.external, sram.technology, sram.words_per_cycle) == (False, "", None)
    assert mine.timing["clock"].typical == 1e8
    (claim,) = mine.claims
    assert (claim.what, claim.number.typical, claim.number.unit) == ("power", 3, "mW")


@pytest.mark.parametrize(
    ("old", "new", "needed"),
    [
        ("[constants.int_add_bit]", "[constants.int_ad_bit]", r"unknown constant 'int_ad_bit'.*did you mean 'int_add_bit'"),
        ("low = 0.003\n", "", "constant int_add_bit: key low is missing"),
        ("low = 0.003\n", "low = 0.003\nnote = 1\n", "constant int_add_bit: unknown key 'note'"),
        (
            "low = 0.003\n",
            "low = 0.003\nvalue = 1\n",
            "constant int_add_bit: value and low are both given: write value alone",
        ),
        ("low = 0.003", "low = 0.005", "int_add_bit: low 0.005, typical 0.004, high 0.006: low <= typical <= high"),
        ("high = 0.006", "high = 0.001", "int_add_bit: low 0.003, typical 0.004, high 0.001: low <= typical <= high"),
        ("low = 0.003", "low = -1.0", "int_add_bit: low = -1.0: write a finite number, 0 or above"),
        ("high = 0.006", "high = inf", "int_add_bit: high = inf: write a finite number"),
        ("typical = 0.004", "typical = nan", "int_add_bit: typical = nan: write a finite number"),
        ("typical = 0.004", 'typical = "4"', "int_add_bit: typical = '4': write a number"),
        ("typical = 0.004", "typical = true", "int_add_bit: typical = True: write a number"),
        ('unit = "pJ/bit"\n', "", "int_add_bit: key unit is missing"),
        ('"pJ/bit"', '"nJ/bit"', "int_add_bit: unit is 'nJ/bit', 'pJ/bit' is needed"),
        ('source = "a book"\n', "", "int_add_bit: key source is missing"),
        ('source = "a book"\n', 'source = " "\n', "int_add_bit: source = ' ': write a text, no constant goes without"),
        ('kind = "published"\n', 'kind = "guessed"\n', "unknown kind 'guessed': there are assumed, derived, measured"),
        ('kind = "published"\n', "", "int_add_bit: key kind is missing"),
        (
            'kind = "published"\n',
            'kind = "published"\nnode_nm = 65\n',
            "int_add_bit is a number for 65 nm in a .* of 28 nm",
        ),
        ('kind = "published"\n', 'kind = "published"\nnode_nm = -1\n', "int_add_bit: node_nm = -1: write a whole number"),
        ("value = 5.0, unit", "node_nm = 45, value = 5.0, unit", "sram.read is a number for 45 nm in a .* of 28 nm"),
        ("node_nm = 28", "node_nm = 0", "node_nm = 0: write a whole number of nanometres, 1 or above"),
        ("node_nm = 28", "node_nm = 28.5", "node_nm = 28.5: write a whole number of nanometres, 1 or above"),
        ("node_nm = 28\n", "", "key node_nm is missing"),
        ('name = "mine"', 'name = ""', "name = '': write a text"),
        ('name = "mine"', "name = [", "cannot be read as TOML"),
        ("node_nm = 28", "node_nm = 28\nvolts = 0.9", "unknown key 'volts'"),
        ('name = "sram"', 'name = "sram"\nports = 2', "level sram: unknown key 'ports'"),
        ("value = 1024", "value = 1024.5", "[a-z]+.capacity is 1024.5 bytes: one whole number, 1 or above"),
        ("word = {value = 32", "word = {value = 0", "[a-z]+.word is 0 bits: one whole number, 1 or above"),
        ("write = {value = 6.0", "wrote = {value = 6.0", "level sram: unknown key 'wrote'.*did you mean 'write'"),
        (
            "capacity = {value = 1024,",
            "capacity = 1024 # {",
            "level sram: capacity is a bare value: write a table with value,",
        ),
        ("clock = {", "clok = {", "unknown timing 'clok'.*did you mean 'clock'"),
        ('"Hz"', '"MHz"', "timing clock: unit is 'MHz', 'Hz' is needed"),
        ('what = "power"\n', "", "published: what = None: say what the number is"),
        ("value = 3\n", 'value = "3"\n', "published 'power': low = '3': write a number"),
        ("[[published]]", "[published]", r"published is no list of tables: write \[\[published\]\] above each"),
        ("[[levels]]", "[levels]", r"levels is no list of tables: write \[\[levels\]\] above each"),
        ("node_nm = 28", 'node_nm = 28\ndataflow = "ws"', "an array needs a dataflow, timing.rows and timing.columns"),
        ("node_nm = 28", 'node_nm = 28\ndataflow = "rs"', "unknown dataflow 'rs': there are is, os, ws"),
        ("node_nm = 28", "node_nm = 28\nvalidation = 1", "validation = 1: write a text"),
    ],
)
def test_wrong_file_is_refused_in_one_line(tmp_path, old, new, needed):
    assert old in WHOLE
    with pytest.raises(ProcessorError, match=needed) as caught:
        load(tmp_path, WHOLE.replace(old, new, 1))
    message = str(caught.value)
    assert "mine.toml" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("levels", "needed"),
    [
        (LEVEL.replace('"sram"', '"sram.bank"'), "level 'sram.bank': give it a name of letters, digits and _"),
        (LEVEL.replace('"sram"', '"operations"'), "level 'operations': give it a name .* other than operations"),
        (LEVEL.replace('"sram"', '""'), "level '': give it a name"),
        (LEVEL.replace('"sram"', "3"), "level 3: give it a name"),
        (LEVEL + LEVEL, "two levels are called sram: give each a name of its own"),
        (EXTERNAL + EXTERNAL, "two levels are called lpddr4 dram: .* each with another technology"),
        (EXTERNAL.replace("true", '"false"'), "level dram: external = 'false': write true or false, without quotes"),
        (EXTERNAL.replace("true", "1"), "level dram: external = 1: write true or false"),
        (EXTERNAL.replace('"dram"', '"flash"'), "level flash: external = true: an external memory is called dram"),
        (EXTERNAL.replace("external = true\n", ""), "level dram: external = false: an external memory is called dram"),
        (EXTERNAL.replace('technology = "lpddr4"\n', ""), "level dram: technology = '': an external memory needs the name"),
        (EXTERNAL.replace('"lpddr4"', '" "'), "level dram: technology = ' ': an external memory needs the name of one"),
        (EXTERNAL.replace('"lpddr4"', "4"), "level dram: technology = 4: an external memory needs the name of one"),
        (LEVEL + 'technology = "22fdx"\n', "level sram: technology = '22fdx': .* a memory on the chip has none"),
        (LEVEL + PORTS.replace("12", "0"), "sram.words_per_cycle is 0 words/cycle: more than 0 is needed"),
        (
            LEVEL + PORTS.replace("value = 12", "low = 0.0, typical = 1.0, high = 2.0"),
            "sram.words_per_cycle is 0.0 to 2.0 words/cycle: more than 0 is needed",
        ),
    ],
)
def test_memories_that_would_be_mispriced_are_refused_in_one_line(tmp_path, levels, needed):
    with pytest.raises(ProcessorError, match=needed) as caught:
        load(tmp_path, HEAD + levels)
    message = str(caught.value)
    assert "mine.toml" in message
    assert "\n" not in message


def test_external_memories_of_two_technologies_share_their_name(tmp_path):
    mine = load(tmp_path, HEAD + LEVEL + PORTS + EXTERNAL + EXTERNAL.replace("lpddr4", "hbm2"))
    assert mine.technologies == {"dram": ("lpddr4", "hbm2")}
    assert mine.levels[0].words_per_cycle.typical == 12


@pytest.mark.parametrize("name", sorted(set(TIMING_CONSTANTS) - {"rows", "columns"}))
def test_a_speed_of_0_is_refused(tmp_path, name):
    speed = f'[timing]\n{name} = {{value = 0, unit = "{TIMING_CONSTANTS[name]}", source = "a paper", kind = "published"}}\n'
    with pytest.raises(ProcessorError, match=f"timing.{name} is 0 .*: more than 0 is needed; leave it out") as caught:
        load(tmp_path, HEAD + LEVEL + speed)
    assert "\n" not in str(caught.value)
    slow = speed.replace("value = 0", "value = 1e-3")
    assert load(tmp_path, HEAD + LEVEL + slow).timing[name].low == 1e-3


def test_constants_must_be_tables(tmp_path):
    with pytest.raises(ProcessorError, match="constants are no table"):
        load(tmp_path, HEAD + "constants = 3\n")
    with pytest.raises(ProcessorError, match="constant int_add_bit is a bare value"):
        load(tmp_path, HEAD + "[constants]\nint_add_bit = 0.003\n")


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(ProcessorError, match=r"absent\.toml: cannot be read"):
        load_processor(tmp_path / "absent.toml")


def test_integers_are_numbers_too(tmp_path):
    assert load(tmp_path, WHOLE.replace("high = 0.006", "high = 1")).constants["int_add_bit"].high == 1


@pytest.mark.parametrize("kind", ["derived", "assumed"])
def test_a_number_of_another_node_may_be_scaled_or_assumed(tmp_path, kind):
    text = ADDITION.replace("published", kind) + "node_nm = 65\n"
    assert load(tmp_path, HEAD + text).constants["int_add_bit"].node_nm == 65


def test_memory_outside_of_the_chip_has_a_node_of_its_own(tmp_path):
    text = EXTERNAL.replace("value = 5.0", "node_nm = 45, value = 5.0")
    assert load(tmp_path, HEAD + text).levels[0].external


def test_constant_and_processor_check_themselves_outside_of_files_too():
    with pytest.raises(ProcessorError, match="low <= typical <= high"):
        Constant(2.0, 1.0, 3.0, "pJ", "a book", "published")
    one = Constant(1.0, 1.0, 1.0, "pJ/bit", "a book", "measured", node_nm=45)
    with pytest.raises(ProcessorError, match="is a number for 45 nm"):
        Processor("x", "x", 28, {"int_add_bit": one})
    with pytest.raises(ProcessorError, match="unknown constant 'sram_read'"):
        Processor("x", "x", 28, {"sram_read": one})
    half = Constant(0.5, 0.5, 0.5, "bytes", "a book", "published")
    with pytest.raises(ProcessorError, match="one whole number, 1 or above"):
        Processor("x", "x", 28, {}, (Level("sram", half, half, half, half),))


@pytest.mark.parametrize("name", OPERATION_CONSTANTS)
def test_a_step_names_the_constants_that_it_lacks(name):
    processor = load_processor("generic_45nm")
    datapath = "float32" if name.startswith("float") else "s8_stoch"
    settings = fasim.StepSettings(batch_size=2, optimizer="adam" if name == "float32_div" else "sgd")
    lacking = replace(processor, constants={k: v for k, v in processor.constants.items() if k != name})
    with pytest.raises(ProcessorError, match=f"it has no number for {name};") as caught:
        estimate("8-6-4", "bp", datapath, settings=settings, processor=lacking)
    assert "\n" not in str(caught.value)
    assert estimate("8-6-4", "bp", datapath, settings=settings, processor=processor).energy_pj_per_sample.typical > 0


def test_a_technology_is_chosen_by_name():
    processor = load_processor("generic_45nm")
    assert processor.technologies == {"dram": ("lpddr4", "hbm2", "gddr5", "ddr3")}
    assert [level.technology for level in processor.with_dram("ddr3").levels] == ["", "", "ddr3"]
    assert [level.technology for level in processor.with_dram("").levels] == ["", "", "lpddr4"]
    with pytest.raises(ConfigError, match="unknown dram of generic_45nm 'lpdr4'.*did you mean 'lpddr4'"):
        processor.with_dram("lpdr4")


def test_no_table_of_generic_45nm_lacks_provenance():
    tables = re.findall(r"^\[(?:constants|levels)\.\w+\]\n((?:\w.*\n?)+)", GENERIC, re.MULTILINE)
    assert len(tables) == 9 + 4 * (2 + 4)
    for table in tables:
        assert {"unit", "source", "kind"} < set(tomllib.loads(table))
