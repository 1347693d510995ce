"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["filling", "replacing"]


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a place to write a file or folder to, beside ``path``; it takes the place of ``path`` if all went well.

    Raises
    ------
    FileNotFoundError
        If the folder that ``path`` lies in does not exist.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: there is no folder {target.parent}; make it first")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".writing-") as folder:
        part = Path(folder) / target.name
        yield part
        if target.is_dir():
            shutil.rmtree(target)
        part.replace(target)


@contextlib.contextmanager
def filling(folder: str | Path) -> Iterator[Path]:
    """Give a place to write files to; if all went well, they move into ``folder``, which is made if it is not there."""
    target = Path(folder)
    # In the folder itself where it is there: it may be a disk of its own, and its parent closed to us.
    near = next(place for place in (target, *target.absolute().parents) if place.exists())
    with tempfile.TemporaryDirectory(dir=near, prefix=".writing-") as name:
        part = Path(name)
        yield part
        target.mkdir(parents=True, exist_ok=True)
        for made in part.iterdir():
            made.replace(target / made.name)
