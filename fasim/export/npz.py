"""The state as ``.npz``: arrays, and what they mean as JSON within the file; read by NumPy alone, without pickle."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from fasim import __version__
from fasim.export.start import Start
from fasim.files import write_whole

FILE = "state.npz"
ABOUT = "about"


def write_npz(folder: Path, start: Start) -> Path:
    """Write ``state.npz``: an array by tensor, and ``about``, UTF-8 JSON as an array of bytes.

    ``json.loads(file["about"].tobytes())`` names network, rule, datapath and seed, and for each tensor its class, axes,
    shape and format (``s8.7``: the integer stands for ``raw * 2^-7``; ``float32``: the number itself).

    Parameters
    ----------
    folder : Path
    start : Start

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    schedule = start.schedule()
    kept = [tensor for tensor in schedule.tensors.values() if tensor.storage in ("state", "generated", "table")]
    arrays = start.state | schedule.tables
    about = {
        "fasim": __version__,
        "network": str(start.network),
        "rule": str(start.rule),
        "datapath": "float32" if start.datapath is None else start.datapath.to_toml(),
        "seed": start.seed,
        "learning_rate": start.learning_rate,
        "epochs": start.epoch,
        "settings": asdict(start.settings),
        "tensors": {
            tensor.name: {
                "class": tensor.cls,
                "axes": tensor.axes,
                "shape": list(tensor.shape),
                "format": str(tensor.format or arrays[tensor.name].dtype),
            }
            for tensor in kept
        },
    }
    content = {tensor.name: arrays[tensor.name].reshape(tensor.shape) for tensor in kept}
    content[ABOUT] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **content)  # type: ignore[arg-type]
    write_whole(folder / FILE, buffer.getvalue())
    return folder / FILE
