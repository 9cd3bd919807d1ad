"""Data sets as 8-bit codes: the same numbers for float32 and for fixed point.

``load`` returns a :class:`Data` for a name of ``names()`` or for the path of an ``.npz`` file.
"""

from __future__ import annotations

from fasim.data.dataset import CODE_FRAC, Data, load, names

__all__ = ["CODE_FRAC", "Data", "load", "names"]
