"""The processors that come with fasim: provenance, one node each, derived numbers that follow from their parts."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import fasim.energy
from fasim.cli import command
from fasim.energy import count, estimate, load_processor, names
from fasim.energy.constant import KINDS
from fasim.energy.processor import OPERATION_CONSTANTS
from fasim.energy.timing import time_step
from fasim.errors import ProcessorError
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from tests import pages

PRESETS = Path(fasim.energy.__file__).parent / "processors"
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-processor.md"
CHIPS = ("anp_i", "df_lnpu", "park_2020", "spoon")
PRICED = ("generic_28nm", "generic_45nm", "systolic_16x16")
ENDS = ("low", "typical", "high")


def numbers(processor):
    """All constants of a processor by name."""
    found = dict(processor.constants) | {f"timing.{name}": constant for name, constant in processor.timing.items()}
    for level in processor.levels:
        for key in ("capacity", "word", "read", "write", "words_per_cycle"):
            if getattr(level, key) is not None:
                found[f"{level.name}.{level.technology}.{key}"] = getattr(level, key)
    return found | {claim.what: claim.number for claim in processor.claims}


def test_the_presets():
    assert names() == sorted([*CHIPS, *PRICED, "generic_7nm", "mcu_pulp"])


@pytest.mark.parametrize("name", names())
def test_preset_loads_and_every_number_has_its_provenance(name):
    processor = load_processor(name)
    assert processor.name == name
    assert load_processor(PRESETS / f"{name}.toml") == processor
    found = numbers(processor)
    assert found
    for what, constant in found.items():
        assert constant.kind in KINDS, what
        assert len(constant.source) > 8, what
        # a spread that no source backs is assumed, and says so
        if constant.kind == "assumed" and constant.low < constant.high:
            assert "assumed" in constant.source, what


@pytest.mark.parametrize("name", names())
def test_no_preset_mixes_nodes(name):
    """What is not derived or assumed is for the node of its processor."""
    processor = load_processor(name)
    text = (PRESETS / f"{name}.toml").read_text(encoding="utf-8")
    for what, constant in numbers(processor).items():
        assert constant.node_nm in (0, processor.node_nm) or constant.kind in ("derived", "assumed"), what
    named = {int(node) for node in re.findall(r"\b(\d+) ?nm\b", processor.description)}
    assert named <= {processor.node_nm}, text


@pytest.mark.parametrize("name", names())
def test_validation_claims_nothing(name):
    """No prediction on any of them was held against a measurement and agreed."""
    assert load_processor(name).validation.startswith("not validated")


@pytest.mark.parametrize("name", [name for name in names() if name not in PRICED])
@pytest.mark.parametrize("datapath", ["float32", "s8"])
def test_what_has_no_energies_refuses_a_step_in_one_line(name, datapath):
    with pytest.raises(ProcessorError, match=f"processor {name} cannot price this step: it has no number for") as caught:
        estimate("20-10-10", "drtp", datapath, processor=name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CHIPS)
def test_chips_carry_what_is_published_alone(name):
    chip = load_processor(name)
    assert not chip.constants
    assert not chip.levels
    assert len(chip.claims) >= 3
    assert all(claim.number.kind in ("measured", "published") for claim in chip.claims)
    assert len({claim.what for claim in chip.claims}) == len(chip.claims)


@pytest.mark.parametrize("name", PRICED)
def test_priced_presets_price_every_datapath(name):
    processor = load_processor(name)
    assert set(processor.constants) == set(OPERATION_CONSTANTS)
    for datapath in ("float32", "s16", "s8_stoch"):
        result = estimate("20-10-10", "drtp", datapath, processor=processor)
        energy = result.energy_pj_per_sample
        assert 0 < energy.low < energy.typical < energy.high
        assert result.fits


def test_28_nm_is_45_nm_scaled_logic_and_memory_apart():
    """Logic by the polynomials of Stillmaker and Baas, SRAM by CACTI 7 between its runs at 32 and 22 nm, DRAM not."""

    def between(at_45, at_32, at_22):
        return at_32 * (at_22 / at_32) ** (math.log(32 / 28) / math.log(32 / 22)) / at_45

    factors = {"read": between(64.0, 36.5, 18.6), "write": between(115, 63.5, 23.7), "small": between(3.38, 1.95, 0.90)}
    assert factors == {
        "read": pytest.approx(0.448, abs=6e-4),
        "write": pytest.approx(0.389, abs=6e-4),
        "small": pytest.approx(0.438, abs=6e-4),
    }
    new, old = load_processor("generic_28nm"), load_processor("generic_45nm")
    for name, constant in new.constants.items():
        assert constant.kind == "derived"
        memory = 0.438 if name == "lut_bit" else 0.507
        for end, factor in zip(ENDS, (0.507, memory, memory), strict=True):
            assert getattr(constant, end) == pytest.approx(factor * getattr(old.constants[name], end), rel=1e-6), name
        assert "0.507" in constant.source
    assert [level.name for level in new.levels] == [level.name for level in old.levels]
    for ours, theirs in zip(new.levels, old.levels, strict=True):
        assert (ours.capacity_bytes, ours.word_bits, ours.external) == (
            theirs.capacity_bytes,
            theirs.word_bits,
            theirs.external,
        )
        for port, sram in (("read", 0.448), ("write", 0.389)):
            memory = {"registers": (0.507, 0.438, 0.438), "sram": (sram,) * 3, "dram": (1, 1, 1)}[ours.name]
            for end, factor in zip(ENDS, memory, strict=True):
                ratio = getattr(getattr(ours, port), end) / getattr(getattr(theirs, port), end)
                assert ratio == pytest.approx(factor, rel=1e-6), (ours.name, port)


def test_7_nm_holds_the_two_confirmed_cells_alone():
    processor = load_processor("generic_7nm")
    assert {name: constant.typical for name, constant in processor.constants.items()} == {"float32_mul": 1.31}
    (dram,) = processor.levels
    assert (dram.technology, dram.read.low, dram.read.high) == ("gddr6", 350, 480)


def test_the_array_has_the_memories_and_energies_that_it_says():
    array, generic = load_processor("systolic_16x16"), load_processor("generic_45nm")
    assert (array.dataflow, array.timing["rows"].whole("rows"), array.timing["columns"].whole("columns")) == ("ws", 16, 16)
    assert array.constants == generic.constants
    sram = next(level for level in array.levels if level.name == "sram")
    assert sram.capacity_bytes == (64 + 512 + 64) * 1024
    assert sram.read.typical == pytest.approx(100 * (640 / 1024) ** 0.5)
    # 16 activations and 16 weights of 8 bits, 16 sums of 32 bits out and 16 back, in words of 64
    assert sram.words_per_cycle.typical * sram.word_bits == 16 * 8 + 16 * 8 + 2 * 16 * 32
    assert [level.name for level in array.with_dram("").levels] == ["sram", "dram"]


def test_the_microcontroller_has_a_speed_and_no_price():
    processor = load_processor("mcu_pulp")
    schedule = training_step(Network.parse("20-30-10"), "bp", StepSettings(batch_size=4))
    timing = time_step(schedule, count(schedule), [], processor)
    macs = count(schedule).macs
    assert macs / 3.11 <= timing.serial_cycles < macs / 3.11 + len(schedule.ops)


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages.saved(PAGE, "small.toml", tmp_path)
    return pages.saved(PAGE, "mine.toml", tmp_path).read_text(encoding="utf-8")


def test_commands_of_the_page_run(mine):
    commands = [line.split() for block in blocks("console") for line in block.splitlines()]
    assert any("mine.toml" in words for words in commands)
    for program, *arguments in commands:
        assert program == "fasim"
        result = CliRunner().invoke(command, arguments)
        assert result.exit_code == 0, result.output
    assert load_processor("mine.toml").name == tomllib.loads(mine)["name"]


def test_the_page_shows_the_errors_that_come(mine):
    """Each row: what stands in the file instead, and what fasim says of it."""
    rows = re.findall(r"^\| `(.+)` \| `(.+)` \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) >= 6
    for old, new, said in rows:
        assert old in mine, old
        Path("mine.toml").write_text(mine.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(ProcessorError) as caught:
            load_processor("mine.toml")
        assert str(caught.value) == f"processor mine.toml: {said}"
