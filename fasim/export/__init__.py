"""Export for hardware and for other programs: golden vectors as hex text, the state as ``.npz``, inference as QONNX.

``start`` says what is exported: a run before its first step, or one that goes on from a checkpoint.
"""

from __future__ import annotations

from fasim.errors import ConfigError, unknown_name
from fasim.export.folder import whole_folder
from fasim.export.npz import write_npz
from fasim.export.qonnx import write_qonnx
from fasim.export.start import Start, fresh, from_checkpoint
from fasim.export.vectors import write_vectors

__all__ = [
    "FORMS",
    "Start",
    "check_form",
    "fresh",
    "from_checkpoint",
    "whole_folder",
    "write_npz",
    "write_qonnx",
    "write_vectors",
]

FORMS = ("hex", "npz", "qonnx")


def check_form(form: str) -> str:
    """Return the name of a form of export.

    Raises
    ------
    ConfigError
        If there is none of that name; the message lists the names.
    """
    if form not in FORMS:
        raise ConfigError(unknown_name("form of export", form, FORMS))
    return form
