"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["replacing"]


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
