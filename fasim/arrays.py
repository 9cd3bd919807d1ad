"""Arrays within ``.npz`` files, held against what is stored before any memory is taken: a header may claim anything."""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

# A deflate stream cannot grow by more than this when unzipped, so a header that claims more lies.
MAX_DEFLATE_RATIO = 1032
# forty times MNIST: what is not zipped may be as large as its file
MAX_UNZIPPED = 1 << 31

_READ_HEADER = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Header(NamedTuple):
    """What a member of an ``.npz`` says that it holds, and the bytes that this takes with the header itself."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    claimed: int


def read_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Header:
    """Return the header of a member.

    Raises
    ------
    ValueError
        If there is none that NumPy writes.
    """
    if info.compress_type not in _METHODS:
        raise ValueError(f"compression method {info.compress_type}; numpy.savez stores, numpy.savez_compressed deflates")
    with archive.open(info) as member:
        version = npy.read_magic(member)
        if version not in _READ_HEADER:
            raise ValueError(f"npy version {version}")
        try:
            shape, _, dtype = _READ_HEADER[version](member)
        except (tokenize.TokenError, TypeError, SyntaxError) as error:
            raise ValueError(f"a damaged header: {error}") from error
        return Header(shape, dtype, member.tell() + math.prod(shape) * dtype.itemsize)


def most(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Return the most bytes that a member can hold, and may."""
    file = archive.fp
    assert file is not None
    stored = min(info.compress_size, os.fstat(file.fileno()).st_size)
    if info.compress_type == zipfile.ZIP_STORED:
        return stored
    return min(stored * MAX_DEFLATE_RATIO, MAX_UNZIPPED)


def read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Return the array of a member of plain numbers; never unpickles.

    Raises
    ------
    ValueError
        If it is no whole array, claims more than is stored, or is one of objects.
    """
    header = read_header(archive, info)
    if header.dtype.hasobject:
        raise ValueError(f"dtype {header.dtype}: pickled objects are not read")
    if header.claimed != info.file_size or header.claimed > most(archive, info):
        raise ValueError(
            f"a header of {header.claimed} bytes over {info.file_size}, of which {most(archive, info)} can be there"
        )
    with archive.open(info) as member:
        return npy.read_array(member, allow_pickle=False)
