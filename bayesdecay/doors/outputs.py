"""Where results may be written, checked before any work is done: nobody should wait minutes for a wrong suffix."""

from __future__ import annotations

import glob
import os
from importlib.util import find_spec
from pathlib import Path

from bayesdecay.errors import MissingExtraError

__all__ = ["check_file", "check_folder", "nearest_folder"]


def check_file(path: Path, *, suffixes: tuple[str, ...], what: str, log: str | None = None) -> None:
    """Check that a file can be written.

    Parameters
    ----------
    path : Path
        The file; its folder must exist.
    suffixes : tuple of str
        What its name may end in.
    what : str
        What it is to hold, for the message.
    log : str, optional
        File or pattern of the log, which must not be overwritten.

    Raises
    ------
    ValueError, OSError
        If it cannot; the message says why and what to do.
    MissingExtraError
        If its format needs what is not installed.
    """
    if path.suffix not in suffixes:
        raise ValueError(f"--out {path}: {what} is written as {' or '.join(suffixes)}, not as {path.name!r}")
    if path.suffix == ".zarr" and find_spec("zarr") is None:
        raise MissingExtraError("zarr is not installed; install bayesdecay[zarr], or write a .nc file")
    if path.is_dir() and path.suffix != ".zarr":
        raise IsADirectoryError(f"--out {path} is a folder; give the name of a file, ending in {' or '.join(suffixes)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--out {path}: there is no folder {path.parent}; make it first")
    _check_writable(path.parent, path)
    # A pattern may be absolute, which Path.glob does not take.
    parts = glob.iglob(log, recursive=True) if log is not None and path.exists() else ()  # noqa: PTH207
    if any(path.samefile(part) for part in parts):
        raise ValueError(f"--out {path} is the log itself; give another file, the log is never overwritten")


def check_folder(path: Path) -> None:
    """Check that a folder can be made, if it is not there, and written to.

    Raises
    ------
    OSError
        If it cannot; the message says why and what to do.
    """
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"--out {path} is a file; give a folder, the results are several files")
    _check_writable(nearest_folder(path), path)


def nearest_folder(path: Path) -> Path:
    """Find the innermost folder of a path that is there, the path itself included."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def _check_writable(folder: Path, path: Path) -> None:
    if not folder.is_dir():
        raise NotADirectoryError(f"--out {path}: {folder} is a file, so nothing can be written below it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"--out {path}: no permission to write in {folder.absolute()}; choose another folder")
