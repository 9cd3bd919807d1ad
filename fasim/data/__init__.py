"""Data sets: 8-bit codes, the same numbers for float32 and for fixed point, or float32 numbers.

``load`` returns a :class:`Data` for a name of ``names()`` or for the path of an ``.npz`` or ``.csv``
file; ``standardise`` sets the values that a network reads, ``augment`` varies images.
"""

from __future__ import annotations

from fasim.data.dataset import CODE_FRAC, Data
from fasim.data.sources import load, names
from fasim.data.transform import augment, parse_augmentation, standardise

__all__ = ["CODE_FRAC", "Data", "augment", "load", "names", "parse_augmentation", "standardise"]
