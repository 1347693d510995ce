"""Features that users bring: a table of their own, with the time at which each row was known.

In: a table with columns ``user``, ``as_of``, perhaps ``at``, and features. Out: the features of given users at a
cutoff; a row that was known only after the cutoff is leakage, and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa

from bayesdecay.data.ids import as_ids, positions
from bayesdecay.errors import DataError, LeakageError, unknown_name
from bayesdecay.names import AT, USER
from bayesdecay.units import cutoff_instant

__all__ = ["AS_OF", "Brought"]

AS_OF = "as_of"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Brought:
    """A table of features, checked.

    Attributes
    ----------
    frame
        Columns ``user``, ``as_of``, perhaps ``at``, and the features.
    features
        Names of the features.
    """

    frame: pd.DataFrame
    features: tuple[str, ...]

    @classmethod
    def from_table(cls, table: Any, timezone: str | None) -> Brought:
        """Check a table.

        Raises
        ------
        TypeError
            If it is no table.
        ValueError
            If ``user`` or ``as_of`` is not there, or no feature is.
        DataError
            If ``as_of`` is missing somewhere.
        """
        frame = nw.from_native(table, eager_only=True).to_pandas().reset_index(drop=True)
        for name in (USER, AS_OF):
            if name not in frame.columns:
                raise unknown_name("column of the brought table:", name, map(str, frame.columns))
        as_of = pd.to_datetime(frame[AS_OF])
        if as_of.dt.tz is not None:
            as_of = as_of.dt.tz_convert(timezone or "UTC").dt.tz_localize(None)
        missing = np.flatnonzero(as_of.isna())
        if len(missing):
            raise DataError(
                f"brought features: column {AS_OF!r} has {len(missing)} missing values (rows {_listed(missing)}); "
                "say when each row was known, or drop it"
            )
        frame = frame.assign(**{AS_OF: as_of})
        if AT in frame.columns:
            frame[AT] = frame[AT].map({at: cutoff_instant(at) for at in frame[AT].unique()})
        return cls(frame=frame, features=tuple(str(c) for c in frame.columns if c not in (USER, AS_OF, AT)))

    def at(self, cutoff: pd.Timestamp, users: pa.ChunkedArray) -> pd.DataFrame:
        """Take the features of users at a cutoff, missing where the table has no row of the user.

        Raises
        ------
        LeakageError
            If a row that is used was known only after the cutoff.
        DataError
            If a user has several rows.
        """
        frame = self.frame if AT not in self.frame.columns else self.frame[self.frame[AT] == cutoff]
        repeated = frame.index[frame[USER].duplicated()].to_numpy()
        if len(repeated):
            raise DataError(
                f"brought features: {len(repeated)} rows repeat a user at {cutoff} (rows {_listed(repeated)}); "
                f"give one row a user, or one a user and cutoff with the column {AT!r}"
            )
        rows = positions(users, pa.chunked_array([as_ids(frame[USER], users.type)]))
        used = frame.iloc[rows[rows >= 0]]
        late = used.index[used[AS_OF] > cutoff].to_numpy()
        if len(late):
            raise LeakageError(
                f"brought features: {len(late)} rows were known only after the cutoff {cutoff} "
                f"(rows {_listed(late)}; the latest {used[AS_OF].max()}); "
                "give what was known by then, or a later cutoff"
            )
        return frame[list(self.features)].reset_index(drop=True).reindex(rows).reset_index(drop=True)


def _listed(rows: np.ndarray) -> str:
    """Name the first rows."""
    return ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
