"""What a trained network answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fasim import backends
from fasim.data import Data
from fasim.errors import ConfigError
from fasim.fixedpoint import load_datapath
from fasim.rules import evaluation_pass
from fasim.runs import Run
from fasim.trainer import EVALUATION_BATCH


def predict(run: Run, data: Data, x: np.ndarray, *, datapath: str = "float32", backend: str = "cpu") -> np.ndarray:
    """Return the outputs of a run's network, as its evaluation computes them.

    Parameters
    ----------
    run : Run
        Its state is read only.
    data : Data
        Gives the standardisation.
    x : ndarray of uint8 or float32, shape (N, I)
        Inputs as in `data`.
    datapath : str
        The one that the run was trained on.
    backend : str

    Returns
    -------
    ndarray of float, shape (N, K)

    Raises
    ------
    ConfigError
        If the backend or datapath is unknown, or is another than that of the run, or `x` is no rows of its inputs.
    """
    if x.dtype != data.x_train.dtype or x.ndim != 2 or x.shape[1] != run.network.inputs:
        raise ConfigError(
            f"inputs are {x.dtype} {x.shape}; needed: rows of {run.network.inputs} {data.x_train.dtype}, as in {data.name}"
        )
    settings = replace(run.settings, batch_size=EVALUATION_BATCH)
    evaluation = evaluation_pass(run.network, settings, load_datapath(datapath))
    if evaluation.datapath != run.schedule.datapath:
        raise ConfigError(
            f"datapath {evaluation.datapath}: the run was trained on {run.schedule.datapath}, and its state holds numbers "
            "of that; give the same"
        )
    program = backends.get(backend)(evaluation)
    labels = np.zeros(len(x), np.int64)
    return program.outputs(run.state, backends.Samples(x, labels, data.gain, data.offset))
