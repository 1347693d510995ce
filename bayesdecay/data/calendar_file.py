"""A calendar in a CSV file, a row a factor, such as a planner keeps it.

In: a file such as ::

    from,until,factor,known
    saturday,,1.2,
    11-24,12-24,1.4,
    2020-03-16,2020-05-03,0.2,2020-03-13

Out: :class:`~bayesdecay.data.calendar.Calendar`. All rows that cannot be read are told at once.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from bayesdecay.data.calendar import Calendar
from bayesdecay.errors import DataError, unknown_name

__all__ = ["read_calendar"]

_FROM, _UNTIL, _FACTOR, _KNOWN = "from", "until", "factor", "known"
_NEEDED, _COLUMNS = (_FROM, _FACTOR), (_FROM, _UNTIL, _FACTOR, _KNOWN)
_WHEN = "write a weekday (saturday), a month (december) or a date (1997-12-24, or 12-24 for every year)"
_REMEDIES = {
    _FROM: _WHEN,
    _UNTIL: "write the last day as the first one is: 1997-12-24, or 12-24 for every year, not before it; or nothing",
    _FACTOR: "write a number, 0 (closed) or above, such as 1.4",
    _KNOWN: "write the date since when it is known, such as 2020-03-13, or nothing where it always was",
}
_SHOWN = 3


def read_calendar(path: str | Path) -> Calendar:
    """Read a calendar from a CSV file.

    Parameters
    ----------
    path
        File with the columns ``from`` (a date, a date without a year for every year, a weekday or a month), ``until``
        (the last day of a range; empty for one day), ``factor`` and, if needed, ``known`` (the date since when it is
        known; empty for always).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError, ValueError
        If it cannot be used; the message names the column, the rows, counted from 0, and the remedy.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"calendar {source}: there is no such file; check the path")
    try:
        with source.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened)
            columns, rows = list(reader.fieldnames or ()), [_stripped(row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"calendar {source} cannot be read: {error}; write it as CSV in UTF-8") from error
    _check_columns(source, columns)
    if not rows:
        raise DataError(f"calendar {source} has no rows; write one a factor, or leave the calendar out")
    bad: dict[str, list[tuple[int, str]]] = {}
    for i, row in enumerate(rows):
        for column in _broken(row):
            bad.setdefault(column, []).append((i, row.get(column, "")))
    if bad:
        raise DataError(f"calendar {source}: {'; '.join(_told(column, found) for column, found in bad.items())}")
    _check_once(source, rows)
    known = {_key(row): row[_KNOWN] for row in rows if row.get(_KNOWN)}
    return Calendar(factors={_key(row): float(row[_FACTOR]) for row in rows}, known=known)


def _stripped(row: dict[str | None, str | None]) -> dict[str, str]:
    return {str(name).strip().lower(): (value or "").strip() for name, value in row.items() if name is not None}


def _check_columns(source: Path, columns: list[str]) -> None:
    told = [name.strip().lower() for name in columns]
    for name in told:
        if name not in _COLUMNS:
            raise DataError(f"calendar {source}: {unknown_name('column', name, _COLUMNS)}")
    for name in _NEEDED:
        if name not in told:
            raise DataError(
                f"calendar {source}: column {name!r} is missing; the columns are {', '.join(_COLUMNS)}, of which "
                f"{' and '.join(_NEEDED)} are needed"
            )


def _key(row: dict[str, str]) -> str:
    return f"{row[_FROM]}/{row[_UNTIL]}" if row.get(_UNTIL) else row[_FROM]


def _broken(row: dict[str, str]) -> Iterator[str]:
    """Columns of a row that cannot be read."""
    try:
        Calendar(factors={"monday": float(row[_FACTOR])})
    except ValueError:
        yield _FACTOR
    try:
        Calendar(factors={row[_FROM]: 1.0})
    except ValueError:
        yield _FROM
        return
    try:
        Calendar(factors={_key(row): 1.0})
    except ValueError:
        yield _UNTIL
        return
    try:
        Calendar(factors={_key(row): 1.0}, known={_key(row): row[_KNOWN]} if row.get(_KNOWN) else {})
    except ValueError:
        yield _KNOWN


def _told(column: str, found: list[tuple[int, str]]) -> str:
    shown = ", ".join(f"{i} ({value!r})" for i, value in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    what = "a value" if len(found) == 1 else f"{len(found):,} values"
    return (
        f"column {column!r} has {what} that cannot be read (row{'s' if len(found) > 1 else ''} {shown}{more}); "
        f"{_REMEDIES[column]}"
    )


def _check_once(source: Path, rows: list[dict[str, str]]) -> None:
    """Refuse two rows about the same days: which of them holds nobody can tell."""
    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        key = _key(row).lower()
        if key in first:
            raise DataError(
                f"calendar {source}: rows {first[key]} and {i} are both about {_key(row)!r}; write one row with the "
                "product of both factors, or with the one that holds"
            )
        first[key] = i
