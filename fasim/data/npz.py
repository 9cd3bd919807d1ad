"""Reader of a user's own data: an ``.npz`` with x_train, y_train, x_test and y_test."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fasim import arrays
from fasim.errors import DataError

KEYS = ("x_train", "y_train", "x_test", "y_test")
CODED = "floats coded as round(256 x), at most 255"

# Far above any task of this kind; a label beyond it is an identifier, not a class.
MAX_LABEL = 65535


@dataclass(frozen=True, eq=False)
class NpzContent:
    """The arrays of a file as codes and labels; fields as in ``fasim.data.Data``."""

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    shape: tuple[int, ...]
    classes: int
    note: str


def read(path: Path) -> NpzContent:
    """Return codes, labels and image shape of an ``.npz`` file.

    ``x`` of dtype uint8 is taken as codes; floats in [0, 1] become
    ``min(255, round(256 x))``, ties to even. ``x`` of shape (N, I) is flat; (N, H, W) and
    (N, H, W, C) keep their image shape. ``y`` holds integers from 0.

    Raises
    ------
    DataError
        The file cannot be read, lacks an array, or an array does not fit; the message names it.
    """
    found = _read_arrays(path)
    x_train, x_test = found["x_train"], found["x_test"]
    y_train, y_test = (_labels(path, key, found[key]) for key in ("y_train", "y_test"))
    shape = _image_shape(path, "x_train", x_train)
    if _image_shape(path, "x_test", x_test) != shape or x_test.ndim != x_train.ndim:
        raise _refusal(
            path,
            "x_test",
            f"samples of shape {x_test.shape[1:]}",
            f"those of x_train, {x_train.shape[1:]}",
            "reshape one of them",
        )
    if x_test.dtype.kind != x_train.dtype.kind:
        raise _refusal(
            path,
            "x_test",
            f"dtype {x_test.dtype}",
            f"the kind of x_train, {x_train.dtype}",
            "store both alike",
        )
    codes_train, codes_test = (_codes(path, key, found[key]) for key in ("x_train", "x_test"))
    for part, x, y in (("train", codes_train, y_train), ("test", codes_test, y_test)):
        if len(x) != len(y):
            raise _refusal(
                path,
                f"y_{part}",
                f"{len(y)} labels",
                f"one for each of the {len(x)} samples of x_{part}",
                "store both alike",
            )
    unseen = np.setdiff1d(y_test, y_train)
    if unseen.size:
        raise _refusal(
            path,
            "y_test",
            f"label {int(unseen[0])}, which y_train never shows",
            "labels that occur in y_train",
            "remove those test samples or add training samples",
        )
    classes = int(max(y_train.max(), y_test.max())) + 1
    if classes < 2:
        raise _refusal(path, "y_train", "label 0 only", "two classes or more", "add samples")
    note = CODED if x_train.dtype.kind == "f" else ""
    return NpzContent(codes_train, y_train, codes_test, y_test, shape, classes, note)


def _refusal(path: Path, key: str, given: str, needed: str, advice: str) -> DataError:
    return DataError(f"{path}: {key} has {given}; needed: {needed}; {advice}")


def _read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            missing = [key for key in KEYS if f"{key}.npy" not in members]
            if missing:
                there = ", ".join(name.removesuffix(".npy") for name in members) or "nothing"
                raise DataError(
                    f"{path}: lacks {', '.join(missing)} and holds {there}; needed: "
                    f"{', '.join(KEYS)}; save them with numpy.savez"
                )
            return {key: _read_array(path, archive, members[f"{key}.npy"]) for key in KEYS}
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; give the path of an .npz file") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{path}: not a whole .npz file ({error}); save it again with numpy.savez") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions"
        ) from error


def _read_array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[np.generic]:
    """Read one member after its header was held against the stored size.

    ``numpy.load`` allocates what the header claims; a damaged header would ask for any amount.
    """
    key = info.filename.removesuffix(".npy")
    try:
        _, dtype, claimed = arrays.read_header(archive, info)
        if dtype.hasobject or dtype.names is not None:
            raise _refusal(
                path,
                key,
                f"dtype {dtype} (pickled or structured)",
                "plain numbers",
                "convert it with numpy.asarray(..., dtype=...)",
            )
        if info.file_size == claimed > arrays.MAX_UNZIPPED and info.compress_type != zipfile.ZIP_STORED:
            raise _refusal(
                path, key, f"{claimed} bytes when unzipped", f"{arrays.MAX_UNZIPPED} at most", "save it with numpy.savez"
            )
        if claimed != info.file_size or claimed > arrays.most(archive, info):
            raise _refusal(
                path,
                key,
                f"a header of {claimed} bytes over {info.file_size} stored",
                "equal sizes",
                "the file is damaged: save it again with numpy.savez",
            )
        return arrays.read_array(archive, info)
    except ValueError as error:
        raise DataError(f"{path}: {key} is not a whole array ({error}); save it again with numpy.savez") from error


def _image_shape(path: Path, key: str, x: NDArray[np.generic]) -> tuple[int, ...]:
    if x.ndim not in (2, 3, 4):
        raise _refusal(path, key, f"shape {x.shape}", "(N, I), (N, H, W) or (N, H, W, C)", "reshape it")
    if x.size == 0:
        raise _refusal(
            path,
            key,
            f"shape {x.shape}",
            "one sample or more, none empty",
            "store a set that is not empty",
        )
    return (*x.shape[1:], 1) if x.ndim == 3 else x.shape[1:]


def _codes(path: Path, key: str, x: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return codes of shape (N, I), C-contiguous."""
    if x.dtype.kind == "f":
        if not np.isfinite(x).all():
            raise _refusal(
                path,
                key,
                "NaN or infinite values",
                "numbers from 0 to 1",
                "replace or remove those samples",
            )
        low, high = float(x.min()), float(x.max())
        if low < 0 or high > 1:
            raise _refusal(
                path,
                key,
                f"values from {low:g} to {high:g}",
                "floats from 0 to 1",
                "rescale them, or store uint8 codes",
            )
        # Exact in the float's own format: 256 is a power of two.
        x = np.minimum(np.rint(x * 256), 255).astype(np.uint8)
    elif x.dtype != np.uint8:
        raise _refusal(
            path,
            key,
            f"dtype {x.dtype}",
            "uint8 codes or floats from 0 to 1",
            "convert it with x.astype(numpy.uint8)",
        )
    return np.ascontiguousarray(x.reshape(len(x), -1), dtype=np.uint8)


def _labels(path: Path, key: str, y: NDArray[np.generic]) -> NDArray[np.int64]:
    if y.dtype.kind not in "iu":
        raise _refusal(
            path,
            key,
            f"dtype {y.dtype}",
            "integers from 0",
            "convert it with y.astype(numpy.int64)",
        )
    if y.ndim != 1:
        raise _refusal(
            path,
            key,
            f"shape {y.shape}",
            "(N,), one label for each sample",
            "flatten it, or take argmax of one-hot rows",
        )
    if y.size == 0:
        raise _refusal(path, key, "no labels", "one sample or more", "store a set that is not empty")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high > MAX_LABEL:
        raise _refusal(
            path,
            key,
            f"labels from {low} to {high}",
            f"integers from 0 to {MAX_LABEL}",
            "number the classes 0, 1, 2, ...",
        )
    return y.astype(np.int64)
