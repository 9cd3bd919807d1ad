"""One process at a time on a folder, by a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from importlib import import_module
from pathlib import Path
from typing import Any

from fasim.errors import OutputError

FILE = ".lock"
fcntl: Any = import_module("fcntl") if os.name == "posix" else None
msvcrt: Any = import_module("msvcrt") if os.name == "nt" else None
# a file system without locks: there, two processes on one folder are not noticed
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
# on Windows the locked byte cannot be read by others; the name of the holder stands before it
LOCKED_BYTE = 1 << 20


class FolderLock:
    """Holds a folder, or what `name` stands for in it, until it is released, or until the process has gone.

    The system itself lets go of it then.

    Parameters
    ----------
    folder : Path
        One that exists.
    name : str
        The lock's file, where it is not the whole folder that is held.

    Raises
    ------
    OutputError
        If another process holds the folder; the line names it.
    OSError
        If no file can be made in the folder.
    """

    def __init__(self, folder: Path, name: str = FILE) -> None:
        self.path = folder / name
        while True:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                self._take(folder)
                # a holder that has just released the folder took the name away: what is held then is nobody's file
                if not _is_still_there(self._file, self.path):
                    os.close(self._file)
                    continue
                os.truncate(self._file, 0)
                os.write(self._file, f"process {os.getpid()} on {socket.gethostname()}".encode())
            except BaseException:
                os.close(self._file)
                raise
            break

    def _take(self, folder: Path) -> None:
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                os.lseek(self._file, LOCKED_BYTE, os.SEEK_SET)
                msvcrt.locking(self._file, msvcrt.LK_NBLCK, 1)
                os.lseek(self._file, 0, os.SEEK_SET)
        except OSError as error:
            if error.errno in NO_LOCKS:
                return
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise
            os.lseek(self._file, 0, os.SEEK_SET)
            holder = os.read(self._file, 200).decode("utf-8", "replace") or "another process"
            raise OutputError(
                f"{folder}: {holder} is at work there; wait until it has ended, or give another folder"
            ) from None

    def release(self) -> None:
        """Let go of the folder; the second time nothing happens."""
        if self._file < 0:
            return
        # Windows removes no file that is open
        if fcntl is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._file)
        self._file = -1
        if fcntl is None:
            with contextlib.suppress(OSError):
                self.path.unlink()


def _is_still_there(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
