"""Reader of IDX files (the format of MNIST), raw or gzipped.

Layout: bytes 0, 0, 8 (unsigned bytes), D (number of axes), then D axis lengths of 4 bytes each,
most significant byte first, then the values in row-major order.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from fasim.arrays import MAX_DEFLATE_RATIO, MAX_UNZIPPED
from fasim.errors import DataError

CHUNK = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
MAX_AXES = 4


@dataclass(frozen=True, eq=False)
class IdxFile:
    """What an IDX file holds, with the two hashes by which it can be recognised.

    Parameters
    ----------
    array : ndarray of uint8
        The values, shaped by the axes of the header.
    zipped : bool
        Whether the file was gzipped.
    content_sha256 : str
        SHA-256 of the unzipped content, header included.
    file_sha256 : str
        SHA-256 of the file as it lies there.
    """

    array: NDArray[np.uint8]
    zipped: bool
    content_sha256: str
    file_sha256: str


def read(path: Path, label: str | None = None) -> IdxFile:
    """Return the content of an IDX file of unsigned bytes.

    Memory stays within the size that the header claims, and the claim is held against the length
    of the file before anything is read.

    Parameters
    ----------
    path : Path
        The file; that it is gzipped is seen from its content, not from its name.
    label : str, optional
        What messages call the file (by default its path).

    Returns
    -------
    IdxFile
        Values and hashes.

    Raises
    ------
    DataError
        The file cannot be read, is no IDX file, or is truncated, damaged, too long or empty.
    """
    label = label or str(path)
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == GZIP_MAGIC
            file.seek(0)
            stored = os.fstat(file.fileno()).st_size
            if zipped:
                with gzip.GzipFile(fileobj=file) as stream:
                    content, dims = _content(stream, label, stored * MAX_DEFLATE_RATIO, exact=False)
            else:
                content, dims = _content(file, label, stored, exact=True)
            file.seek(0)
            file_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{label}: truncated or damaged gzip file ({error}); needed is a whole IDX file: fetch it again"
        ) from error
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"{label}: cannot be read ({error.strerror or error}); needed is a readable IDX file: "
            "check the path and its permissions"
        ) from error
    array = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * len(dims)).reshape(dims)
    return IdxFile(array, zipped, hashlib.sha256(content).hexdigest(), file_sha256)


def _content(
    stream: IO[bytes] | gzip.GzipFile, label: str, available: int, *, exact: bool
) -> tuple[bytearray, tuple[int, ...]]:
    """Return header and values as bytes, and the axes."""
    content = bytearray(stream.read(4))
    if len(content) < 4 or content[:3] != b"\0\0\x08" or not 1 <= content[3] <= MAX_AXES:
        raise DataError(
            f"{label}: begins with {bytes(content).hex(' ') or 'nothing'}; an IDX file of unsigned "
            f"bytes begins with 00 00 08 and 01 to 0{MAX_AXES}: give the official file"
        )
    axes = content[3]
    content += stream.read(4 * axes)
    if len(content) < 4 + 4 * axes:
        raise DataError(
            f"{label}: ends inside its header of {4 + 4 * axes} bytes; needed is a whole IDX file: fetch it again"
        )
    dims = tuple(int.from_bytes(content[4 + 4 * a : 8 + 4 * a], "big") for a in range(axes))
    needed = len(content) + math.prod(dims)
    if 0 in dims:
        raise DataError(f"{label}: holds no values (axes {dims}): give the official file")
    if not exact and available >= needed > MAX_UNZIPPED:
        raise DataError(
            f"{label}: the header (axes {dims}) needs {needed} bytes, and {MAX_UNZIPPED} at most are unzipped: unzip it"
        )
    if needed > available or (exact and needed != available):
        holds = f"the file holds {available}" if exact else f"it cannot unzip to over {available}"
        raise DataError(
            f"{label}: the header (axes {dims}) needs {needed} bytes and {holds}: truncated, too "
            "long or damaged, fetch it again"
        )
    while len(content) <= needed:
        chunk = stream.read(min(CHUNK, needed + 1 - len(content)))
        if not chunk:
            break
        content += chunk
    if len(content) != needed:
        given = f"over {needed}" if len(content) > needed else f"{len(content)}"
        raise DataError(
            f"{label}: the header (axes {dims}) needs {needed} bytes and there are {given}: "
            "truncated, too long or damaged, fetch it again"
        )
    return content, dims
