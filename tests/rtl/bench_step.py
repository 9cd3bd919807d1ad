"""Drives `step.v` with exported vectors: cocotb runs it inside the simulator, in the folder of the vectors."""

from __future__ import annotations

import json
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

# more than a step of the largest batch takes
MOST_CYCLES = 20_000
LAYERS = (1, 2, 3)


def words(manifest: dict, path: str) -> list[int]:
    """Return the words of a file as the numbers that they stand for."""
    about = manifest["files"][path]
    raw = [int(line, 16) for line in Path(path).read_text().split()]
    wraps = 1 << about["bits"]
    return [word - wraps if about["signed"] and 2 * word >= wraps else word for word in raw]


async def write(dut, port: str, data: str, values: list[int]) -> None:
    """Write values through a port, one a cycle."""
    for address, value in enumerate(values):
        getattr(dut, f"{port}_address").value = address
        getattr(dut, data).value = value
        getattr(dut, f"{port}_write").value = 1
        await FallingEdge(dut.clock)
    getattr(dut, f"{port}_write").value = 0


async def finish(dut) -> None:
    """Wait for the end of a step."""
    dut.go.value = 1
    await FallingEdge(dut.clock)
    dut.go.value = 0
    for _ in range(MOST_CYCLES):
        await FallingEdge(dut.clock)
        if dut.done.value == 1:
            return
    raise AssertionError(f"not done after {MOST_CYCLES} cycles")


@cocotb.test()
async def every_step_leaves_the_exported_parameters(dut) -> None:
    manifest = json.loads(Path("manifest.json").read_text())
    cocotb.start_soon(Clock(dut.clock, 10, unit="ns").start())
    for name in ("input_write", "label_write", "go"):
        getattr(dut, name).value = 0
    dut.reset.value = 1
    await FallingEdge(dut.clock)
    await FallingEdge(dut.clock)
    dut.reset.value = 0
    assert len(manifest["steps"]) == 3
    for step in manifest["steps"]:
        await write(dut, "input", "input_code", words(manifest, step["given"]["act.0"]))
        await write(dut, "label", "label_in", words(manifest, step["given"]["label"]))
        await finish(dut)
        for memory in ("weight", "master", "bias"):
            expected = [word for layer in LAYERS for word in words(manifest, step["final"][f"{memory}.{layer}"])]
            found = [getattr(dut, memory)[index].value.to_signed() for index in range(len(expected))]
            wrong = [index for index, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]]
            assert not wrong, f"step {step['number']}: {memory} differs at {wrong}"
