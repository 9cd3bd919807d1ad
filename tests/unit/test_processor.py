"""Processors: the presets load, every number has its provenance, and what is wrong is named in one line."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fasim.energy
from fasim.energy import Constant, Operations, Transfer, load_processor, names
from fasim.energy.price import coefficients
from fasim.energy.processor import CONSTANTS
from fasim.errors import ConfigError, ProcessorError

PRESETS = Path(fasim.energy.__file__).parent / "processors"
GENERIC = (PRESETS / "generic_45nm.toml").read_text(encoding="utf-8")
SRAM_READ = "[constants.sram_read]\nlow = 50.0\ntypical = 100.0\nhigh = 200.0\n"


def load(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_processor(path)


def energy(kind, bits_a=32, bits_b=32, accumulator=32, *, float32=False, end="typical", constants=None):
    """Energy of one operation in pJ."""
    constants = constants or load_processor("generic_45nm").constants
    row = Operations(0, "forward", 1, kind, 1, bits_a, bits_b, accumulator, float32)
    return float(coefficients([row], []) @ [getattr(constants[name], end) for name in CONSTANTS])


@pytest.mark.parametrize("name", names())
def test_preset_loads(name):
    processor = load_processor(name)
    assert processor.name == name
    assert set(processor.constants) == set(CONSTANTS)
    assert load_processor(str(PRESETS / f"{name}.toml")) == processor
    for constant in processor.constants.values():
        # a spread that no source backs is assumed, and says so
        assert constant.kind != "assumed" or "assumed" in constant.source
        assert constant.low < constant.high


def test_generic_45nm_is_what_it_says():
    processor = load_processor("generic_45nm")
    assert (processor.memory_bytes, processor.word_bits) == (2**20, 64)
    assert names() == ["generic_45nm"]
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
    assert processor.constants["int_mul_bit2"].high * 32**2 == pytest.approx(12.68)


@pytest.mark.parametrize(("bits", "expected"), [(2, 0.014), (4, 0.052), (6, 0.114), (12, 0.444), (16, 0.783), (24, 1.75)])
def test_multiplier_law(bits, expected):
    assert energy("MUL", bits, bits) == pytest.approx(expected, abs=6e-4)


def test_multiplier_of_mixed_widths_lies_at_the_geometric_mean():
    assert energy("MUL", 4, 16) == pytest.approx(energy("MUL", 8, 8))
    assert energy("MUL", 4, 16) == energy("MUL", 16, 4)


def test_reads_and_writes_are_paid_by_word():
    read = Transfer(0, "forward", 1, "weight", "weight.1", False, 100, 13)
    paid = dict(zip(CONSTANTS, coefficients([], [read, replace(read, write=True, words=5)]), strict=True))
    assert {name: amount for name, amount in paid.items() if amount} == {"sram_read": 13, "sram_write": 5}


@pytest.mark.parametrize("kind", ["MAC", "MUL", "ADD", "CMP", "SHIFT", "LUT"])
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


@pytest.mark.parametrize(
    ("old", "new", "needed"),
    [
        ("[constants.sram_read]", "[constants.sram_reed]", r"unknown constant 'sram_reed'.*did you mean 'sram_read'"),
        (SRAM_READ, "[constants.sram_read]\ntypical = 100.0\nhigh = 200.0\n", "constant sram_read: key low is missing"),
        (SRAM_READ, SRAM_READ + "note = 1\n", "constant sram_read: unknown key 'note'"),
        (SRAM_READ, SRAM_READ.replace("50.0", "150.0"), "sram_read: low 150.0, typical 100.0, high 200.0: low <= typical"),
        (SRAM_READ, SRAM_READ.replace("= 200", "= 20"), "sram_read: low 50.0, typical 100.0, high 20.0: low <= typical"),
        (SRAM_READ, SRAM_READ.replace("50.0", "-5.0"), "sram_read: low = -5.0: write a finite number, 0 or above"),
        (SRAM_READ, SRAM_READ.replace("200.0", "inf"), "sram_read: high = inf: write a finite number"),
        (SRAM_READ, SRAM_READ.replace("100.0", "nan"), "sram_read: typical = nan: write a finite number"),
        (SRAM_READ, SRAM_READ.replace("100.0", '"100"'), "sram_read: typical = '100': write a number"),
        (SRAM_READ, SRAM_READ.replace("100.0", "true"), "sram_read: typical = True: write a number"),
        ('unit = "pJ/word"\n', "", "sram_(read|write): key unit is missing"),
        ('"pJ/word"', '"nJ/word"', "sram_(read|write): unit is 'nJ/word', 'pJ/word' is needed"),
        ('"pJ/word"', '" "', r"unit = ' ': write a text"),
        ('kind = "derived"', 'kind = "guessed"', "unknown kind 'guessed': there are assumed, derived, measured, published"),
        ('kind = "derived"\n', "", "key kind is missing"),
        ("word_bits = 64\n", "", "key word_bits is missing"),
        ("word_bits = 64", "word_bits = 0", "word_bits = 0: write a whole number, 1 or above"),
        ("memory_bytes = 1048576", "memory_bytes = 1e6", "memory_bytes = 1000000.0: write a whole number"),
        ("memory_bytes = 1048576", "memory_bytes = true", "memory_bytes = True: write a whole number"),
        ('name = "generic_45nm"', 'name = ""', "name = '': write a text"),
        ('name = "generic_45nm"', "name = [", "cannot be read as TOML"),
        ("word_bits = 64", "word_bits = 64\nvolts = 0.9", "unknown key 'volts'"),
    ],
)
def test_wrong_file_is_refused_in_one_line(tmp_path, old, new, needed):
    assert old in GENERIC
    with pytest.raises(ProcessorError, match=needed) as caught:
        load(tmp_path, GENERIC.replace(old, new))
    message = str(caught.value)
    assert "mine.toml" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", CONSTANTS)
def test_no_constant_and_no_source_may_be_missing(tmp_path, name):
    document = tomllib.loads(GENERIC)
    start = GENERIC.index(f"[constants.{name}]")
    table = GENERIC[start:].split("\n\n")[0]
    with pytest.raises(ProcessorError, match=f"constant {name} is missing: there is no default"):
        load(tmp_path, GENERIC.replace(table, ""))
    source = next(line for line in table.splitlines() if line.startswith("source"))
    with pytest.raises(ProcessorError, match=f"constant {name}: key source is missing"):
        load(tmp_path, GENERIC.replace(table, table.replace(source + "\n", "")))
    with pytest.raises(ProcessorError, match=f"constant {name}: source = '': write a text"):
        load(tmp_path, GENERIC.replace(table, table.replace(source, 'source = ""')))
    assert document["constants"][name]["unit"] == CONSTANTS[name]


def test_constants_must_be_tables(tmp_path):
    head = 'name = "x"\ndescription = "x"\nmemory_bytes = 1\nword_bits = 64\n'
    with pytest.raises(ProcessorError, match="constants is no table"):
        load(tmp_path, head + "constants = 3\n")
    with pytest.raises(ProcessorError, match="constant sram_read is a bare value"):
        load(tmp_path, head + "[constants]\nsram_read = 100.0\n")


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(ProcessorError, match=r"absent\.toml: cannot be read"):
        load_processor(tmp_path / "absent.toml")


def test_integers_are_numbers_too(tmp_path):
    assert load(tmp_path, GENERIC.replace("50.0", "50")).constants["sram_read"].low == 50


def test_constant_and_processor_check_themselves_outside_of_files_too():
    with pytest.raises(ProcessorError, match="low <= typical <= high"):
        Constant(2.0, 1.0, 3.0, "pJ", "a book", "published")
    processor = load_processor("generic_45nm")
    with pytest.raises(ProcessorError, match="constant rng_bit is missing"):
        replace(processor, constants={k: v for k, v in processor.constants.items() if k != "rng_bit"})
