"""Time: cycles of each op, and the latencies that follow from the dependencies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fasim.energy import Constant, Level, estimate, load_processor
from fasim.energy.gemms import gemms
from fasim.energy.systolic import Array, cycles
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import PHASES, StepSettings

GENERIC = load_processor("generic_45nm").with_dram("")
MLP = Network.parse("784-1000-1000-10")
DEEP = Network.parse("100-8x100-10")


def number(value, unit="test"):
    return Constant(value, value, value, unit, "test", "assumed")


def simd(macs=4, others=0, ports=None):
    """Return a processor of so many multiply-accumulates a cycle in one memory of so many words a cycle."""
    memory = replace(GENERIC.levels[1], capacity=number(1 << 30), words_per_cycle=ports and number(ports))
    timing = {f"macs_per_cycle_{phase}": number(macs) for phase in ("forward", "error", "gradient")}
    if others:
        timing["elements_per_cycle"] = number(others)
    return replace(GENERIC, timing=timing, levels=(memory,))


def systolic(rows=16, columns=16, dataflow="ws", **timing):
    timing = {name: number(value) for name, value in timing.items()}
    array = {"rows": number(rows), "columns": number(columns)}
    return replace(GENERIC, timing=array | timing, dataflow=dataflow, levels=GENERIC.levels[1:])


def timed(network, rule, processor, n=1, **settings):
    return estimate(network, rule, settings=StepSettings(n, **settings), processor=processor).timing


def test_no_speed_no_time():
    assert estimate(MLP, "bp", settings=StepSettings(1)).timing is None


def test_products_at_the_measured_rate():
    """4 a cycle, nothing else takes time: F = E + W_1 = G = 1,794,000 at one sample."""
    time = timed(MLP, "bp", simd())
    assert time.phase_cycles == {"forward": 448_500, "error": 252_500, "gradient": 448_500, "update": 0}
    assert time.serial_cycles == sum(time.phase_cycles.values())
    assert time.utilisation == pytest.approx(1.0)
    assert "operations on elements" in time.untimed
    dfa = timed(MLP, "dfa", simd())
    assert dfa.phase_cycles == {"forward": 448_500, "error": 5_000, "gradient": 448_500, "update": 0}


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
def test_an_array_takes_what_its_closed_forms_say(dataflow):
    schedule = training_step(MLP, "bp", StepSettings(8))
    array = Array(16, 8, dataflow)
    expected = dict.fromkeys(PHASES, 0)
    for gemm in gemms(schedule):
        expected[gemm.phase] += cycles(gemm, array)
    assert timed(MLP, "bp", systolic(16, 8, dataflow), 8).phase_cycles == expected


def test_layers_wait_for_each_other_only_under_backpropagation():
    """Eight hidden layers on any number of cores: BP sends the error through all, direct feedback to each at once."""
    times = {rule: timed(DEEP, rule, simd(macs=1), 1) for rule in ("bp", "fa", "dfa", "drtp", "lafs")}
    forward = 9 * 100 * 100 - 100 * 90
    assert times["bp"].phase_cycles["forward"] == forward
    # forward, back through 8 matrices, and one layer's gradient
    assert times["bp"].parallel_cycles == times["fa"].parallel_cycles == forward + 1000 + 7 * 10_000 + 10_000
    # forward, the error to every layer, and the gradients all at once
    assert times["dfa"].parallel_cycles == forward + 1000 + 10_000
    # a layer learns while the next ones run: the last hidden layer's gradient ends after the output's
    assert times["drtp"].parallel_cycles == forward - 1000 + 10_000
    assert times["lafs"].parallel_cycles <= times["dfa"].parallel_cycles


def test_two_cores_hide_the_shorter_half():
    """PDFA: with a step's staleness the forward pass runs beside the rest of the batch before."""
    for rule in ("bp", "dfa"):
        time = timed(MLP, rule, simd())
        forward = time.phase_cycles["forward"]
        assert time.pipelined_cycles == max(forward, time.serial_cycles - forward)
    assert timed(MLP, "bp", simd()).pipelined_cycles > timed(MLP, "dfa", simd()).pipelined_cycles


def test_an_op_waits_for_its_memory():
    """One word of 64 bits a cycle, 2 weights each: at one sample the weights take longer than 4 products a cycle."""
    bound, free = timed(MLP, "bp", simd(ports=1)), timed(MLP, "bp", simd())
    assert bound.serial_cycles > free.serial_cycles
    forward = [time for time in bound.ops if time.phase == "forward" and time.products]
    assert [time.memory for time in forward] == [
        (784_000 + 784 + 1000 + 1000) // 2,
        (1_000_000 + 1000 + 1000 + 1000) // 2,
        (10_000 + 1000 + 10 + 10) // 2,
    ]
    assert all(time.cycles == time.memory > time.arithmetic for time in forward)
    assert bound.memory_bound_cycles == sum(time.cycles for time in bound.ops if time.memory > time.arithmetic)
    assert bound.utilisation < free.utilisation


def test_other_operations_take_their_time():
    without, with_them = timed(MLP, "bp", simd()), timed(MLP, "bp", simd(others=8))
    # bce and tanh: the output's error is one subtraction for each of 10 outputs
    error = next(time for time in with_them.ops if time.phase == "error")
    assert error.arithmetic == 2
    assert with_them.serial_cycles > without.serial_cycles
    assert "operations on elements" not in with_them.untimed


def test_signs_take_as_long_as_products_and_nothing_takes_none():
    """On an array the closed form; on a microcontroller its rate; sparse products lane by lane."""
    net = Network.parse("784-500-10")
    for processor in (systolic(elements_per_cycle=16), simd(macs=3.11, others=1)):
        dense = timed(net, "dfa", processor)
        transport = {}
        for name, rule, feedback in (
            ("sdfa", "sdfa", "uniform"),
            ("sign", "dfa", "uniform+sign"),
            ("k", "dfa", "uniform+k:1"),
        ):
            step = timed(net, rule, processor, feedback=feedback)
            transport[name] = step.phase_cycles["error"]
            assert 0 < step.utilisation <= 1
        assert dense.phase_cycles["error"] <= transport["sdfa"] <= 1.35 * dense.phase_cycles["error"]
        assert dense.phase_cycles["error"] <= transport["sign"] <= 1.35 * dense.phase_cycles["error"]
        assert 0 < transport["k"] < dense.phase_cycles["error"] + 500


def test_a_phase_without_a_rate_takes_the_slowest_that_is_known():
    processor = replace(simd(), timing={"macs_per_cycle_forward": number(4), "macs_per_cycle_error": number(2)})
    time = timed(MLP, "bp", processor)
    assert time.phase_cycles == {"forward": 448_500, "error": 505_000, "gradient": 897_000, "update": 0}
    assert time.utilisation <= 1


def test_a_cast_is_one_pass():
    """Shift, round and limit together: a step in 8 bits takes no longer than one in float32."""
    times = {}
    for datapath in (None, "s8"):
        result = estimate("784-500-10", "dfa", datapath, settings=StepSettings(1), processor="systolic_16x16")
        times[datapath] = result.timing
    # the update of the masters and their copy into the weights are two passes over 397,000 numbers
    assert times["s8"].phase_cycles["update"] <= 2 * times[None].phase_cycles["update"] + 100
    assert times["s8"].phase_cycles["forward"] <= times[None].phase_cycles["forward"] + 200


def test_what_is_stated_with_an_interval_gives_one():
    time = estimate("64-100-10", "dfa", settings=StepSettings(4), processor=with_memory("mcu_pulp")).timing
    assert time.fastest_cycles < time.serial_cycles < time.slowest_cycles
    assert time.slowest_cycles / time.fastest_cycles == pytest.approx(4.39 / 0.81, rel=0.02)
    sure = timed(MLP, "bp", simd())
    assert sure.fastest_cycles == sure.serial_cycles == sure.slowest_cycles


def with_memory(name):
    """Return a processor of another speed with the energies and memories of the generic one."""
    return replace(load_processor(name), constants=GENERIC.constants, levels=GENERIC.levels, node_nm=45)


def test_seconds_need_a_clock():
    processor = systolic(clock=200e6)
    assert timed(MLP, "bp", processor).clock_hz == 200e6
    assert timed(MLP, "bp", systolic()).clock_hz == 0


def test_an_array_reads_again_and_again():
    """784 -> 500 on 16 x 16, weights stay: 32 column tiles read the inputs 32 times, 49 row tiles write sums 49 times."""
    net = Network.parse("784-500-10")
    processor = systolic()
    processor = replace(processor, levels=(replace(processor.levels[0], word=number(32), capacity=number(1 << 30)),))
    result = estimate(net, "bp", settings=StepSettings(1), processor=processor)
    forward = {
        (row.part, row.kind): row.count for row in result.rows if row.layer == 1 and row.phase == "forward" and row.level
    }
    assert forward["weight", "read"] == 392_000
    assert forward["act", "read"] == 784 * 32
    # unfinished sums beside the finished ones
    assert forward["accumulator", "write"] == forward["accumulator", "read"] == 500 * 48
    assert result.memories[0].needed_bytes["accumulator"] == 4 * 500
    assert isinstance(processor.levels[0], Level)
