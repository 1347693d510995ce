"""Tables in memory to Arrow: pandas, polars, pyarrow and whatever else speaks their language.

Only the columns wanted are taken. Objects of pandas are looked at one by one, because a column of them may mix types
and time zones, which no later step could tell apart any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa

from bayesdecay.data.quality import SHOWN_ROWS, refusal
from bayesdecay.errors import DataError

__all__ = ["arrow_columns"]


def arrow_columns(table: Any, choose: Callable[[Sequence[str]], list[str]], zoned: bool) -> pa.Table | None:
    """Take the wanted columns of a table as Arrow; None if it is no table that we know.

    Parameters
    ----------
    table
        pandas or polars frame (eager or lazy), pyarrow table, any frame that narwhals knows or an exporter of an
        Arrow stream.
    choose
        Given the names there are, the names wanted; raises for one that is not there.
    zoned
        Whether times of different offsets may be brought to one zone.

    Raises
    ------
    DataError
        If a column mixes types, or time zones.
    """
    if isinstance(table, pd.DataFrame):
        return _from_pandas(table, choose, zoned)
    frame = nw.from_native(table, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        return _plain(frame.select(choose(frame.collect_schema().names())).collect("pyarrow").to_arrow())
    if isinstance(frame, nw.DataFrame):
        return _plain(frame.select(choose(frame.columns)).to_arrow())
    if hasattr(table, "__arrow_c_stream__"):
        arrow = pa.table(table)
        return _plain(arrow.select(choose(arrow.column_names)))
    return None


def _plain(table: pa.Table) -> pa.Table:
    """Decode dictionaries, whose order is that of their making, and give empty columns a type."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table[place].cast(field.type.value_type))
        elif pa.types.is_null(field.type):
            table = table.set_column(place, field.name, table[place].cast(pa.string()))
    return table


def _from_pandas(frame: pd.DataFrame, choose: Callable[[Sequence[str]], list[str]], zoned: bool) -> pa.Table:
    """Take columns of a pandas frame; NaN and NaT are missing values."""
    labels = {str(label): label for label in frame.columns}
    columns = {}
    for name in choose(list(labels)):
        series = frame[labels[name]]
        if isinstance(series, pd.DataFrame):
            raise ValueError(f"column {name!r} is there {series.shape[1]} times; rename all but one")
        columns[name] = _series(name, series, zoned)
    return _plain(pa.table(columns))


def _series(name: str, series: pd.Series, zoned: bool) -> pa.Array | pa.ChunkedArray:
    """Convert one column."""
    if series.dtype == object:
        inferred = pd.api.types.infer_dtype(series, skipna=True)
        if inferred in ("mixed", "mixed-integer"):
            _refuse_odd("mixed_types", name, series, lambda value: type(value).__name__)
        if inferred in ("datetime", "datetime64"):
            series = _one_zone(name, series, zoned)
    try:
        return pa.Array.from_pandas(series)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise DataError(f"column {name!r} cannot be read: {error}; bring it to one plain type before") from error


def _one_zone(name: str, series: pd.Series, zoned: bool) -> pd.Series:
    """Bring objects to one zone, or refuse those that differ."""
    aware = series.dropna().map(lambda value: getattr(value, "tzinfo", None) is not None)
    if aware.any() and not aware.all():
        _refuse_odd("missing_zone", name, series, lambda value: "none" if _zone(value) == "none" else "", odd="none")
    if not zoned:
        _refuse_odd("mixed_zones", name, series, _zone)
    return pd.to_datetime(series, utc=True) if aware.any() else series


def _zone(value: Any) -> str:
    """Name the zone of a point in time."""
    tz = getattr(value, "tzinfo", None)
    return "none" if tz is None else str(tz)


def _refuse_odd(rule: str, name: str, series: pd.Series, sort: Callable[[Any], str], odd: str | None = None) -> None:
    """Refuse the values that are of the odd sort or, where none is told, not of the commonest one."""
    sorts = series.map(lambda value: "" if pd.api.types.is_scalar(value) and pd.isna(value) else sort(value)).to_numpy()
    if odd is None:
        counts = Counter(sorts[sorts != ""])
        if len(counts) < 2:
            return
        rows = np.flatnonzero((sorts != "") & (sorts != counts.most_common(1)[0][0]))
    else:
        rows = np.flatnonzero(sorts == odd)
    first = rows[:SHOWN_ROWS]
    raise DataError("events: " + refusal(rule, name, len(rows), first.tolist(), [sorts[row] for row in first]))
