"""How every CPU kernel is compiled and cached, in one place.

Numba keys its cache on the file of the cached function alone, but kernels inline the scalar functions of other files: after
an edit (or a ``git pull`` into an editable installation) it would run the old bits. Kernels are therefore cached in a
folder named by the content of all files that they are made of, and by what this process may use of the CPU.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import config as numba_config
from numba.core import event

from fasim.scalar.target import AMX

config: Any = numba_config
PACKAGE = Path(__file__).parents[1]


def _fingerprint() -> str:
    """Return a short hash of the sources of all kernels and scalar functions (about 40 files, two milliseconds)."""
    content = hashlib.sha256()
    for folder in ("kernels", "scalar"):
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            content.update(path.read_bytes())
    return content.hexdigest()[:12]


def _cache_folder() -> str:
    """Return where to cache, or nothing where only Numba's own choice (a folder of the user) can be written."""
    given = config.CACHE_DIR
    beside = Path(__file__).parent / "__pycache__"
    if not given and not os.access(beside if beside.exists() else beside.parent, os.W_OK):
        return ""
    return str(Path(given or beside) / f"kernels-{_fingerprint()}{'-amx' if AMX else ''}")


CACHE_FOLDER = _cache_folder()


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function on first use and cache it for other processes.

    error_model "numpy": the Python model puts a ZeroDivisionError branch into every division, which keeps loops scalar.
    nogil: several threads work on slices of one batch. No fastmath: results must not depend on how LLVM reassociates a sum.
    """
    before = config.CACHE_DIR
    # Numba reads the setting once, when it decorates; it is put back for everybody else's functions
    config.CACHE_DIR = CACHE_FOLDER or before
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before


class _Compilations(event.Listener):
    """Calls back as the compilation of a kernel starts; what it calls in turn is part of it and not told."""

    def __init__(self, started: Callable[[str], None]) -> None:
        self.started, self.depth = started, 0

    def on_start(self, compilation: Any) -> None:
        """Numba holds its compiler lock: one thread compiles at a time."""
        self.depth += 1
        if self.depth == 1:
            self.started(compilation.data["dispatcher"].__name__)

    def on_end(self, compilation: Any) -> None:
        """End one, by an error too."""
        self.depth -= 1


@contextmanager
def compilations(started: Callable[[str], None]) -> Iterator[None]:
    """Call back with the name of every kernel that is compiled in the body of the ``with``; one from the cache is not.

    Parameters
    ----------
    started : callable
        Called as the compilation starts, by the thread that compiles.

    Notes
    -----
    Numba's event ``numba:compile``, see its documentation, "Event API".
    """
    with event.install_listener("numba:compile", _Compilations(started)):
        yield
