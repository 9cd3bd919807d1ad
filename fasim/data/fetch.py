"""Find, download and verify the files of MNIST and Fashion-MNIST.

A file comes from ``$FASIM_DATA/<name>/`` when that variable is set (the folder is only read), else
from the user's cache folder, downloaded there from the first mirror that serves the right bytes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fasim.data import idx
from fasim.errors import DataError

STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
UNVERIFIED = "unverified data"

# Above the largest file known here (47 MB unzipped): a mirror that sends more is not serving it.
MAX_DOWNLOAD_BYTES = 64 << 20
TIMEOUT_S = 30


@dataclass(frozen=True)
class Archive:
    """A data set in four IDX files, its mirrors and the hashes it is known by.

    Parameters
    ----------
    name : str
        Name of the data set and of its folder.
    classes : int
        Number of labels.
    mirrors : tuple of str
        Addresses that end in "/"; ``<stem>.gz`` is appended.
    sha256 : mapping of str to str
        Official SHA-256 of each stem.
    hashed : {"content", "gz"}
        What ``sha256`` and ``variants`` are hashes of: the unzipped content (any gzip wrapper
        will do), or the official ``.gz`` file.
    variants : mapping of str to str
        SHA-256 -> name of a known variant, which every result then names.
    """

    name: str
    classes: int
    mirrors: tuple[str, ...]
    sha256: Mapping[str, str]
    hashed: Literal["content", "gz"] = "content"
    variants: Mapping[str, str] = field(default_factory=dict)


ARCHIVES: dict[str, Archive] = {
    "mnist": Archive(
        name="mnist",
        classes=10,
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://raw.githubusercontent.com/fgnt/mnist/master/",
        ),
        # Taken from the official files, unzipped.
        sha256={
            STEMS[0]: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            STEMS[1]: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            STEMS[2]: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            STEMS[3]: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    "fashion-mnist": Archive(
        name="fashion-mnist",
        classes=10,
        mirrors=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        # Of the .gz files, from pytorch/vision, torchvision/prototype/datasets/_builtin/mnist.py
        # (commit 01c11a0564b8417561ae4c414fe659fc97476987). The publisher states only MD5s of the
        # same files (README of zalandoresearch/fashion-mnist), and no source was found for the
        # unzipped content.
        sha256={
            STEMS[0]: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            STEMS[1]: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            STEMS[2]: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            STEMS[3]: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
        hashed="gz",
    ),
}


def read(archive: Archive, stem: str, *, allow_unverified: bool = False) -> tuple[NDArray[np.uint8], str]:
    """Return the array of one file and the note that results must carry.

    Parameters
    ----------
    archive : Archive
        The data set.
    stem : str
        File name without ``.gz``, one of ``STEMS``.
    allow_unverified : bool
        Accept a file at hand that is neither official nor a known variant.

    Returns
    -------
    array : ndarray of uint8
        Images (N, H, W) or labels (N,).
    note : str
        Empty for the official file, else the variant's name or "unverified data".

    Raises
    ------
    DataError
        The file is absent, cannot be downloaded, is damaged or not the one expected.
    """
    path = find(archive, stem)
    file = idx.read(path)
    note = _note(archive, stem, file)
    if note is None:
        if not allow_unverified:
            raise DataError(
                f"{path}: {_mismatch(archive, stem, file)}; put the official {stem}.gz in its "
                "place (a damaged file of the cache may be deleted), or pass "
                "--allow-unverified-data (allow_unverified=True)"
            )
        note = UNVERIFIED
    return file.array, note


def find(archive: Archive, stem: str) -> Path:
    """Return the path of a file, downloading it where no folder was given and the cache lacks it.

    Raises
    ------
    DataError
        ``FASIM_DATA`` is set and lacks the file, or no mirror served it.
    """
    given = os.environ.get("FASIM_DATA", "")
    folder = (Path(given) if given else cache_folder()) / archive.name
    for path in (folder / f"{stem}.gz", folder / stem):
        if path.is_file():
            return path
    if given:
        raise DataError(
            f"FASIM_DATA={given} holds no {archive.name}/{stem} or {archive.name}/{stem}.gz; put "
            "the official file there, or unset FASIM_DATA to download it"
        )
    return download(archive, stem, folder)


def cache_folder() -> Path:
    """Return the folder for downloads: the platform's user cache, subfolder ``fasim``."""
    import pooch

    return Path(pooch.os_cache("fasim"))


def download(archive: Archive, stem: str, folder: Path) -> Path:
    """Fetch ``<stem>.gz`` from the first mirror that serves a verified file; return its path.

    The file appears in ``folder`` whole or not at all.

    Raises
    ------
    DataError
        The folder cannot be written, or every mirror failed; the message says how each did.
    """
    import pooch

    # Without it a server may unzip on the way, and a hash of the .gz file could not match.
    fetcher = pooch.HTTPDownloader(timeout=TIMEOUT_S, headers={"Accept-Encoding": "identity"})
    failures = []
    for mirror in archive.mirrors:
        url = f"{mirror}{stem}.gz"
        part = _open_part(folder, stem)
        try:
            with part:
                fetcher(url, part, None)
            file = idx.read(Path(part.name), label=url)
            if _note(archive, stem, file) is not None:
                os.replace(part.name, folder / f"{stem}.gz")
                return folder / f"{stem}.gz"
            failures.append(f"{url}: {_mismatch(archive, stem, file)}")
        except DataError as error:
            failures.append(str(error))
        except OSError as error:  # the parent of every exception of requests, too
            failures.append(f"{url}: {_reason(error)}")
        finally:
            Path(part.name).unlink(missing_ok=True)
    raise DataError(
        f"{archive.name}: {stem}.gz could not be downloaded from any mirror [{'; '.join(failures)}]"
        f"; fetch it by hand and set FASIM_DATA to a folder that holds {archive.name}/{stem}.gz"
    )


def _reason(error: OSError) -> str:
    """Return one line; of a failed connection only its innermost cause, which urllib3 keeps."""
    cause = getattr(error.args[0], "reason", None) if error.args else None
    return " ".join(str(cause or error).split())


class _Part:
    """A temporary file that refuses to grow without end."""

    def __init__(self, folder: Path, stem: str) -> None:
        handle, self.name = tempfile.mkstemp(prefix=f"{stem}.", suffix=".part", dir=folder)
        self._file = os.fdopen(handle, "wb")
        self._bytes = 0

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def write(self, chunk: bytes) -> None:
        self._bytes += len(chunk)
        if self._bytes > MAX_DOWNLOAD_BYTES:
            raise OSError(f"sends more than {MAX_DOWNLOAD_BYTES} bytes")
        self._file.write(chunk)

    def flush(self) -> None:
        self._file.flush()


def _open_part(folder: Path, stem: str) -> _Part:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _Part(folder, stem)
    except OSError as error:
        raise DataError(
            f"{folder}: the cache folder cannot be written ({error.strerror or error}); make it "
            "writable, or set FASIM_DATA to a folder that holds the files"
        ) from error


def _note(archive: Archive, stem: str, file: idx.IdxFile) -> str | None:
    """Return "" for the official file, a variant's name, or None for anything else."""
    given = _given(archive, file)
    if given == archive.sha256[stem]:
        return ""
    return archive.variants.get(given)


def _given(archive: Archive, file: idx.IdxFile) -> str:
    return file.content_sha256 if archive.hashed == "content" else file.file_sha256


def _mismatch(archive: Archive, stem: str, file: idx.IdxFile) -> str:
    if archive.hashed == "gz" and not file.zipped:
        return f"an unzipped file, and {archive.name} can be verified only by its official .gz file"
    what = "the unzipped content" if archive.hashed == "content" else "the .gz file"
    return f"SHA-256 of {what} is {_given(archive, file)}, expected {archive.sha256[stem]}"
