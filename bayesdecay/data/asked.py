"""What is asked of a log: kinds and columns by name, checked against those that it has.

In: names as the user gives them. Out: the names, or an error that tells the nearest right one.
"""

from __future__ import annotations

from collections.abc import Sequence

from bayesdecay.errors import unknown_name

__all__ = ["known_columns", "known_kinds", "listed"]


def known_kinds(kinds: Sequence[str], there: Sequence[str]) -> tuple[str, ...]:
    """Let kinds pass that are in a log, in order and each once; ``there`` is empty if it was read without kinds.

    Raises
    ------
    ValueError
        If one is not in the log, none is given, or the log was read without kinds.
    """
    if not there:
        raise ValueError("the log was read without kinds of events; name their column in read_events(kind=...)")
    chosen = tuple(dict.fromkeys(map(str, listed("kinds", kinds))))
    if not chosen:
        raise ValueError(f"kinds is empty; choose from {', '.join(there)}, or leave it out to count all")
    for kind in chosen:
        if kind not in there:
            raise unknown_name("kind", kind, there)
    return chosen


def known_columns(columns: Sequence[str], there: Sequence[str]) -> tuple[str, ...]:
    """Let columns pass that were read.

    Raises
    ------
    ValueError
        If one was not read.
    """
    for column in listed("columns", columns):
        if column not in there:
            error = unknown_name("column", column, there)
            raise ValueError(f"{error}; further ones are read by read_events(..., columns=[{column!r}])")
    return tuple(columns)


def listed(what: str, names: Sequence[str]) -> Sequence[str]:
    """Refuse a text where a list of texts is meant: its letters are not meant."""
    if isinstance(names, str):
        raise TypeError(f"{what} is a list; write [{names!r}]")
    return names
