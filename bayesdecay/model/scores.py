"""What is asked of the users' scores, and what comes back: value types of :mod:`bayesdecay.model.scoring`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from bayesdecay import names, units
from bayesdecay.data.calendar import Calendar
from bayesdecay.files import replacing

__all__ = ["Forecast", "ScoreOptions", "Scores", "write_scores"]

Floats = NDArray[np.float64]

_ROW_GROUP = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOptions:
    """What to say of each user.

    Parameters
    ----------
    horizons : durations
        Windows after the cutoff, above zero: ``["30d", "90d"]``, or labels of your own and lengths,
        ``{"month": "30d"}``; see :func:`bayesdecay.units.durations`. Kept as labels and lengths [days].
    silent : durations
        Further silent times after which the interest is wanted, zero or longer.
    floor : float, optional
        Interest [activities per day] for ``p_below_floor``.
    ci_prob : float
        Probability of the equal-tailed intervals.
    random_seed : int, optional
        The same seed gives the same scores.
    shocks : bool
        Whether what all users share and nobody foresees is in the forecasts; without it intervals of totals are far too
        narrow.
    calendar : Calendar, optional
        What is known of the days to come, as factors on everybody's interest, relative to an average day of the log; in
        place of the fit's own calendar. A season that the fit has learned stays: tell ``DecayModel(calendar=)`` what
        explains some of it.

    Raises
    ------
    TypeError
        If a length is no duration.
    ValueError
        If a length cannot be, ``ci_prob`` is not inside (0, 1) or the floor not above zero.

    Examples
    --------
    >>> ScoreOptions(horizons=["30d", "2w"]).horizons
    {'30d': 30.0, '14d': 14.0}
    """

    horizons: units.Durations = ("30d", "90d")
    silent: units.Durations = ()
    floor: float | None = None
    ci_prob: float = 0.9
    random_seed: int | None = None
    shocks: bool = True
    calendar: Calendar | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizons", _lengths("horizons", self.horizons, zero=False))
        object.__setattr__(self, "silent", _lengths("silent", self.silent, zero=True))
        if not 0.0 < self.ci_prob < 1.0:
            raise ValueError(f"ci_prob must lie between 0 and 1, got {self.ci_prob}")
        if self.floor is not None and not self.floor > 0.0:
            raise ValueError(f"floor must be an interest above zero [activities per day], got {self.floor}")

    @property
    def windows(self) -> dict[str, float]:
        """Labels and lengths [days] of the horizons."""
        return cast("dict[str, float]", self.horizons)

    @property
    def silences(self) -> dict[str, float]:
        """Labels and lengths [days] of the silent times."""
        return cast("dict[str, float]", self.silent)

    @property
    def tails(self) -> tuple[float, float]:
        """Probabilities of the two ends of an interval."""
        return (1.0 - self.ci_prob) / 2.0, (1.0 + self.ci_prob) / 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of users: one row a user, in the order of the history.

    Parameters
    ----------
    table : pyarrow.Table
        Columns ``user``, ``interest`` [activities per day], ``half_life`` [days, posterior median: the mean is ruled by
        users who may never fade], ``p_never``, and for each horizon ``p_return_30d``, ``activities_30d``, ...; each
        with ``_lower`` and ``_upper``.
    ci_prob : float
        Probability of the intervals.
    """

    table: pa.Table
    ci_prob: float

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as a pandas data frame."""
        frame: pd.DataFrame = self.table.to_pandas()
        frame.attrs[names.CI_PROB] = self.ci_prob
        return frame

    def to_parquet(self, path: str | Path) -> None:
        """Write the table to a Parquet file, whole or not at all."""
        with replacing(path) as unfinished:
            pa.parquet.write_table(self.table, unfinished)

    def to_csv(self, path: str | Path) -> None:
        """Write the table to a CSV file, whole or not at all."""
        with replacing(path) as unfinished:
            pa.csv.write_csv(self.table, unfinished)

    def _repr_html_(self) -> str:
        head: str = self.table.slice(0, 8).to_pandas().to_html(float_format="{:.3g}".format, index=False)
        return f"<p>Scores of {len(self):,} users, {self.ci_prob:.0%} intervals</p>{head}"


def write_scores(parts: Iterable[Scores], path: str | Path) -> None:
    """Write scores part by part to a file, ``.parquet`` or else CSV, whole or not at all.

    Parameters
    ----------
    parts
        At least one; what :func:`~bayesdecay.model.scoring.score_parts` gives.
    """
    tables = (part.table for part in parts)
    first = next(tables)
    opened = pa.parquet.ParquetWriter if Path(path).suffix == ".parquet" else pa.csv.CSVWriter
    with replacing(path) as unfinished, opened(unfinished, first.schema) as writer:
        for gathered in _gathered(chain([first], tables)):
            writer.write_table(gathered)


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Put small tables together: a row group of a Parquet file should not be of a few thousand rows."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= _ROW_GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Predicted numbers of activities after the cutoff.

    ``pmf`` (user, count): probability of 0, 1, 2, ... activities of each user, in the order of the history;
    ``total`` (sample,): draws of the sum over all users, each with one draw of the population for all.
    """

    pmf: Floats
    total: Floats

    @property
    def mean(self) -> Floats:
        """Expected number of activities (user,)."""
        return self.pmf @ np.arange(self.pmf.shape[1])


def _lengths(what: str, given: units.Durations, *, zero: bool) -> dict[str, float]:
    """Read durations, none of them being fine too."""
    if isinstance(given, Sized) and not isinstance(given, str) and len(given) == 0:
        return {}
    try:
        return units.durations(given, zero=zero)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what}: {error}") from error
