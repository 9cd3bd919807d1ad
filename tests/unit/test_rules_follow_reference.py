"""A hundred steps of every rule in float32 beside the independent float64 reference: the loss curves are one."""

from __future__ import annotations

import numpy as np
import pytest

from fasim import rules
from fasim.backends.cpu import CpuProgram
from fasim.state import initial_state, set_learning_rate
from tests import reference_bridge as bridge
from tests.reference.float_functions import loss_value
from tests.reference_cases import Case, long_runs

STEPS = 100
TOLERANCE = 1e-3
RATE, FEEDBACK_RATE = 2.0**-7, 2.0**-6


def curves(case: Case, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss of the batch at every step, of the package and of the reference."""
    schedule, settings = case.schedule(rule), case.settings
    state = initial_state(case.network, schedule, case.seed)
    set_learning_rate(state, schedule, RATE, FEEDBACK_RATE)
    by_hand = {name: array.copy() for name, array in state.items()}
    size, data, program = settings.batch_size, case.samples(4), CpuProgram(schedule)
    found = np.empty((STEPS, 2))
    for step in range(STEPS):
        rows = (np.arange(size) + step * size) % len(data.codes)
        expected = bridge.advance(
            case.network, rule, settings, by_hand, bridge.inputs(case.network, data, rows), data.labels[rows], step
        )
        by_hand = expected.state
        program.run(state, data, rows, step)
        outputs = program.buffers["output"].astype(np.float64), expected.output
        found[step] = [loss_value(output, expected.target, settings.loss, settings.reduction) for output in outputs]
    return found[:, 0], found[:, 1]


@pytest.mark.parametrize("rule", rules.names())
def test_loss_curves_are_the_same(rule: str) -> None:
    for case in long_runs(rule):
        actual, expected = curves(case, rule)
        assert np.ptp(expected) > 0.1 * expected.mean(), f"{case}: the curve is flat"
        np.testing.assert_allclose(actual, expected, rtol=TOLERANCE, atol=0, err_msg=str(case))
