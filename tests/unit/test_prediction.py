"""Outputs of a trained run's network."""

from __future__ import annotations

import numpy as np
import pytest

from fasim.data import load
from fasim.errors import ConfigError
from fasim.prediction import predict
from fasim.training import train


@pytest.mark.parametrize("datapath", ["float32", "s8"])
def test_a_prediction_has_the_accuracy_of_the_run_and_no_other_datapath(datapath):
    data = load("digits")
    run = train("64-9-10", data, datapath=datapath, epochs=2)
    outputs = predict(run, data, data.x_test, datapath=datapath)
    assert np.mean(outputs.argmax(1) == data.y_test) == run.test_accuracy
    other = "s8" if datapath == "float32" else "float32"
    with pytest.raises(ConfigError, match=f"datapath {other}: the run was trained on {datapath}"):
        predict(run, data, data.x_test, datapath=other)
