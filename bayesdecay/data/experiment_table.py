"""From a table to a checked experiment.

In: a table, one row a user. Out: :class:`~bayesdecay.data.experiment.Experiment`, or an error that names the column,
the rows and the remedy.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay.data.covariates import encoded, standardized
from bayesdecay.data.experiment import Experiment
from bayesdecay.data.frames import arrow_columns
from bayesdecay.data.propensity import designed, estimated, observed_shares
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.data.source import Columns, open_source
from bayesdecay.data.sql import fetch, identifier
from bayesdecay.errors import DataError, unknown_name
from bayesdecay.names import ARM, USER

__all__ = ["Propensity", "read_experiment"]

type Propensity = Mapping[Hashable, float | str] | Literal["estimated"] | None

_SHOWN = 5


def read_experiment(
    table: Any,
    *,
    arm: str,
    control: Hashable,
    outcomes: Sequence[str],
    user: str | None = None,
    propensity: Propensity = None,
    randomised: bool = True,
    features: Sequence[str] = (),
) -> Experiment:
    """Read an experiment and check it.

    Parameters
    ----------
    table : path, pandas, polars or Arrow table, DuckDB relation, or Snapshots
        One row a user. Snapshots at one cutoff, with the arm as a brought column and ``returned`` among the outcomes,
        bring the users' histories, so that their interest may count.
    arm : str
        Column of what the user was given.
    control : hashable
        The arm that stands for nothing given, as it is called in that column.
    outcomes : sequence of str
        Columns of what came of it: yes or no (0 or 1), or an amount, which may be mostly zero.
    user : str, optional
        Column of the users' ids; the rows' numbers from 0 unless told.
    propensity : mapping of arm to share or column, or "estimated", optional
        The design's probability of each arm: a share, or the column that holds each user's where it differed between
        strata. Unless told, the observed shares if lots were drawn, and estimated from the features if not.
    randomised : bool
        Whether lots were drawn. If not, nothing made of it is called causal.
    features : sequence of str
        Columns that were known *before* the arms were given. What came after would hide a part of the effect, so no
        column is taken unless named.

    Returns
    -------
    Experiment

    Raises
    ------
    TypeError, ValueError
        If the table is none, a column is not there or is named for two things, or the control is no arm.
    DataError
        If values are missing, a user is there twice, or propensities are no probabilities.
    LeakageError
        If the outcomes of snapshots are not wholly observed yet.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"sent": ["none", "mail", "none", "mail"], "bought": [0, 1, 0, 0]})
    >>> read_experiment(frame, arm="sent", control="none", outcomes=["bought"]).summary()["bought"].tolist()
    [0.0, 0.5]
    """
    if isinstance(outcomes, str) or isinstance(features, str) or not outcomes:
        raise TypeError("experiment: outcomes= and features= are lists of columns, with at least one outcome")
    snapshots = table if isinstance(table, Snapshots) else None
    if snapshots is not None:
        table, user = _at_one_cutoff(snapshots), user or USER
    roles = {"arm": arm} | ({"user": user} if user else {})
    _refuse_two_roles([*roles.values(), *outcomes, *features])
    entries = propensity.values() if isinstance(propensity, Mapping) else ()
    design = [entry for entry in entries if isinstance(entry, str)]
    frame = _frame(table, Columns(roles=roles, extra=(*outcomes, *features, *design)))
    checked = _checked(frame, arm=arm, user=user, outcomes=outcomes)
    arms, given = _arms(checked, control, arm)
    probability, origin = _propensity(propensity, arms, given, frame, list(features), randomised)
    return Experiment(
        table=checked.join(frame[list(features)]),
        arms=arms,
        outcomes=tuple(outcomes),
        features=tuple(features),
        given=given,
        propensity=probability,
        randomised=randomised,
        origin=origin,
        snapshots=snapshots,
    )


def _at_one_cutoff(snapshots: Snapshots) -> pd.DataFrame:
    """Rows of snapshots whose outcomes are wholly observed."""
    if len(snapshots.histories) != 1:
        raise ValueError(
            f"experiment: snapshots at {len(snapshots.histories)} cutoffs; give those at the cutoff of the experiment"
        )
    return snapshots.training().table


def _refuse_two_roles(columns: Sequence[str]) -> None:
    """An outcome among the features would explain itself."""
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ValueError(f"experiment: column {twice[0]!r} is named for two things; give each column one part")


def _frame(table: Any, columns: Columns) -> pd.DataFrame:
    """Read the wanted columns."""
    if isinstance(table, str | os.PathLike | duckdb.DuckDBPyRelation):
        source = open_source(table if isinstance(table, duckdb.DuckDBPyRelation) else Path(table), columns)
        return fetch(source.run(f"SELECT {', '.join(map(identifier, source.types))} FROM {source.table}")).to_pandas()
    arrow = arrow_columns(table, columns.choose, False)
    if arrow is None:
        raise TypeError(
            "an experiment comes as a path, a pandas, polars or Arrow table, or a DuckDB relation, not "
            f"{type(table).__name__}"
        )
    return arrow.to_pandas()


def _checked(frame: pd.DataFrame, *, arm: str, user: str | None, outcomes: Sequence[str]) -> pd.DataFrame:
    """Give user, arm and outcomes under our names, or refuse them."""
    if frame.empty:
        raise DataError("experiment: the table has no rows; expected one a user")
    for name in (arm, user) if user else (arm,):
        _refuse(frame[name].isna(), f"column {name!r} is missing", "drop them, or fill them in")
    table = pd.DataFrame({USER: frame[user] if user else np.arange(len(frame)), ARM: frame[arm]})
    if user:
        _refuse(frame[user].duplicated(), f"column {user!r} repeats a user", "give each user one row")
    for name in outcomes:
        table[name] = _outcome(frame[name], name)
    return table


def _outcome(values: pd.Series, name: str) -> NDArray[np.float64]:
    if not pd.api.types.is_numeric_dtype(values):
        raise DataError(f"experiment: outcome {name!r} is {values.dtype}; expected numbers, or 0 and 1 for no and yes")
    found = values.to_numpy(dtype=float, na_value=np.nan)
    remedy = "give every user an outcome (0 if nothing came of it); dropping users would undo the draw"
    _refuse(pd.Series(~np.isfinite(found)), f"outcome {name!r} is missing or infinite", remedy)
    return found


def _refuse(wrong: pd.Series, what: str, remedy: str) -> None:
    rows = np.flatnonzero(wrong)
    if rows.size:
        shown = ", ".join(map(str, rows[:_SHOWN])) + (", ..." if rows.size > _SHOWN else "")
        raise DataError(f"experiment: {what} in {rows.size:,} rows ({shown}); {remedy}")


def _arms(table: pd.DataFrame, control: Hashable, column: str) -> tuple[tuple[Hashable, ...], NDArray[np.int64]]:
    """Find the arms, the control first, and each user's place among them."""
    found = sorted(table[ARM].unique().tolist(), key=str)
    if control not in found:
        raise unknown_name(f"control in column {column!r},", control, map(str, found))
    if len(found) < 2:
        raise DataError(f"experiment: all users were given {control!r}; expected at least one other arm")
    arms = (control, *(one for one in found if one != control))
    return arms, pd.Index(arms).get_indexer(table[ARM]).astype(np.int64)


def _propensity(
    propensity: Propensity,
    arms: Sequence[Hashable],
    given: NDArray[np.int64],
    frame: pd.DataFrame,
    features: list[str],
    randomised: bool,
) -> tuple[NDArray[np.float64], str]:
    """Probability of each arm for each user (user, arm), and where it is from."""
    if propensity == "estimated" or (propensity is None and not randomised):
        if not features:
            raise ValueError(
                "experiment: propensities can only be estimated from features; name in features= what was known of "
                "the users before, and what the choice of the arm went by"
            )
        columns, _ = encoded(frame[features])
        return estimated(standardized(columns), given, len(arms)), "estimated"
    if propensity is None:
        return observed_shares(given, len(arms)), "observed shares"
    return designed(propensity, arms, frame), "design"
