"""Where data sets that are never downloaded are looked for."""

from __future__ import annotations

import os
from pathlib import Path

from fasim.data import fetch
from fasim.errors import DataError


def find(name: str, folder: str, needed: str, url: str) -> Path:
    """Return the folder of a data set that the user has unpacked.

    It is the first that holds `needed` of ``ROOT/name/folder``, ``ROOT/folder`` and ``ROOT/name``,
    where ROOT is ``FASIM_DATA``, or the user's cache folder when that is not set.

    Parameters
    ----------
    name : str
        Name of the data set.
    folder : str
        Folder that the official archive unpacks to.
    needed : str
        A file by which the folder is recognised.
    url : str
        Address of the official archive.

    Raises
    ------
    DataError
        None of the three holds the file.
    """
    given = os.environ.get("FASIM_DATA", "")
    root = Path(given) if given else fetch.cache_folder()
    for place in (root / name / folder, root / folder, root / name):
        if (place / needed).is_file():
            return place
    where = f"FASIM_DATA={given}" if given else f"{root} (FASIM_DATA is not set)"
    raise DataError(
        f"{name}: {where} holds no {name}/{folder}/{needed}; download {url} and unpack it so that the file "
        f"is there, or set FASIM_DATA to a folder that holds {name}/{folder}"
    )
