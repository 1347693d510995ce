"""What a query over a log may use: memory, a place on disk for the rest, threads, and whether its progress is shown."""

from __future__ import annotations

import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

import duckdb

from bayesdecay.errors import MissingExtraError
from bayesdecay.watched import watched

__all__ = ["Resources"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What the database that reads a log may use.

    Parameters
    ----------
    memory_limit : str, optional
        Memory [bytes, with a unit] for reading, grouping and sorting the log, as in ``"2GB"``; what does not fit is
        spilled to disk. Four fifths of the machine's memory unless told. A result that is asked for comes on top.
    temp_directory : path, optional
        Folder to spill to; the system's temporary folder unless told. What was spilled is removed afterwards.
    threads : int, optional
        Threads; one a core unless told.
    progress : bool, optional
        Show a progress bar for a query that takes more than two seconds; only in a terminal or a notebook, unless told.

    Raises
    ------
    ValueError
        If the memory is none that can be, or there is no thread.
    FileNotFoundError
        If the folder is not there.
    MissingExtraError
        When it opens in a notebook, if a bar was asked for and ipywidgets, which draws it, is missing.
    """

    memory_limit: str | None = None
    temp_directory: str | Path | None = None
    threads: int | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.temp_directory is not None and not Path(self.temp_directory).is_dir():
            raise FileNotFoundError(f"temp_directory: there is no folder {self.temp_directory}; make it first")
        if self.memory_limit is not None and not _is_memory(self.memory_limit):
            raise ValueError(f"memory_limit must be a number and a unit, as in '2GB', got {self.memory_limit!r}")

    def open(self) -> duckdb.DuckDBPyConnection:
        """Open a private in-memory database with these settings."""
        # The default would spill into ".tmp" of the folder that the user happens to work in.
        spill = Path(self.temp_directory or tempfile.gettempdir()) / f"bayesdecay-{uuid.uuid4().hex}"
        told = {"memory_limit": self.memory_limit, "threads": self.threads}
        connection = duckdb.connect(
            config={"temp_directory": str(spill), **{name: value for name, value in told.items() if value is not None}}
        )
        self._show_progress(connection)
        return connection

    def _show_progress(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Show a bar as told; DuckDB draws it on the standard output, wherever that goes."""
        shown = watched(sys.stdout) if self.progress is None else self.progress
        try:
            connection.execute(f"SET enable_progress_bar = {shown}")
        except duckdb.InvalidInputException as error:
            # In a notebook DuckDB draws it by ipywidgets, which not every Jupyter has; a log is read without it.
            if self.progress:
                raise MissingExtraError(
                    "a progress bar in a notebook needs ipywidgets; install it, or leave out progress=True"
                ) from error


def _is_memory(text: str) -> bool:
    """Whether DuckDB can read it as an amount of memory; it takes a negative one for no limit at all."""
    try:
        duckdb.connect(config={"memory_limit": text}).close()
    except duckdb.Error:
        return False
    return not text.strip().startswith("-")
