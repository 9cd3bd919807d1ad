"""The loops that steps are held against: what they do on several threads. Their rates are for the eye of who measures."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import ceilings  # noqa: E402 - scripts, not a package
import gemm_peaks  # noqa: E402


class Loop:
    """Notes how many steps it was to take in which thread, once all others are there."""

    def __init__(self, threads):
        self.all_there, self.calls = threading.Barrier(threads, timeout=10), []

    def __call__(self, steps):
        self.all_there.wait()
        self.calls.append((threading.get_ident(), steps))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_thread_takes_all_steps_of_a_turn_at_once(threads):
    loop = Loop(threads)
    ceilings.Together([loop] * threads).run(1000)
    assert [steps for _, steps in loop.calls] == [1000] * threads
    assert len({thread for thread, _ in loop.calls}) == threads
    assert threading.get_ident() in {thread for thread, _ in loop.calls}


@pytest.mark.parametrize("threads", [1, 2])
def test_the_peak_counts_the_operations_of_all_threads(threads, monkeypatch):
    taken = []
    peak = gemm_peaks.Peak(lambda count, factor: taken.append((count, factor)), 24)
    monkeypatch.setattr(ceilings, "peaks", lambda: {"float32": peak})
    loop, operations = ceilings.Ceilings(threads).peak("float32")
    loop.run(5)
    assert taken == [(5 * gemm_peaks.STEPS, 1)] * threads
    assert operations == 24 * threads
    assert ceilings.Ceilings(threads).peak("int8") is None


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("reads", [True, False])
def test_the_memory_is_dealt_out_and_passed_through_in_every_step(reads, threads, monkeypatch):
    parts = []

    def aligned(*given):
        parts.append(np.zeros(*given))
        return parts[-1]

    monkeypatch.setattr(ceilings, "aligned", aligned)
    made = ceilings.Ceilings(threads)
    (made.read if reads else made.read_and_write)(4 * 1200).run(5)
    assert [part.size for part in parts] == [1200 // threads] * threads
    if not reads:
        assert all((part == 5 * ceilings.PASSES).all() for part in parts)
