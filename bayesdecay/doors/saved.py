"""What earlier commands saved and later ones read: histories and fits, and whether they go together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bayesdecay import units
from bayesdecay.data.history import History, HistoryFile
from bayesdecay.data.scale.unloaded import read_history
from bayesdecay.errors import DataError, LeakageError
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.fits import load
from bayesdecay.model.returning import ReactivationFit

__all__ = [
    "decay_fit",
    "history_of",
    "lapsed_after_of",
    "reactivation_fit",
    "reactivation_fits",
    "refuse_hindsight",
    "refuse_other_unit",
    "stored_history",
]


def history_of(path: Path) -> History:
    """Read a history that ``bayesdecay summarize`` wrote, or a warehouse unloaded."""
    return read_history(path)


def stored_history(path: Path) -> History | HistoryFile:
    """Look at a history that ``bayesdecay summarize`` wrote, to be read part by part; one from a warehouse is read."""
    try:
        return HistoryFile.open(path)
    except (DataError, FileNotFoundError):
        return read_history(path)


def decay_fit(path: Path) -> DecayFit:
    """Read a decay fit.

    Raises
    ------
    ValueError
        If the file holds something else.
    """
    found = load(path)
    if not isinstance(found, DecayFit):
        raise ValueError(f"{path} holds no decay fit; give the file written by 'bayesdecay fit', or decay.nc of 'run'")
    return found


def reactivation_fits(path: Path) -> dict[str, ReactivationFit]:
    """Read reactivation fits, by the label of their horizon.

    Raises
    ------
    ValueError
        If the file holds none.
    """
    found = load(path)
    fits = found.values() if isinstance(found, dict) else [found]
    by_horizon = {fit.horizon: fit for fit in fits if isinstance(fit, ReactivationFit)}
    if not by_horizon:
        raise ValueError(f"{path} holds no reactivation fit; give reactivation.nc written by 'bayesdecay run'")
    return by_horizon


def reactivation_fit(path: Path, horizon: str | None) -> ReactivationFit:
    """Read the reactivation fit of one horizon, the longest unless told.

    Raises
    ------
    ValueError
        If the file has none for it.
    """
    fits = reactivation_fits(path)
    label = max(fits, key=units.days) if horizon is None else units.duration_label(horizon)
    if label not in fits:
        raise ValueError(f"{path} has no fit for {label}, only for {', '.join(fits)}")
    return fits[label]


def lapsed_after_of(fits: Iterable[ReactivationFit]) -> str:
    """Silence after which a user counted as lapsed when the fits were made."""
    return units.duration_label(next(iter(fits)).description["lapsed_after"])


def refuse_other_unit(fit: DecayFit, activity: str) -> None:
    """Refuse to go on with users whose activities are counted in another unit than the fit's.

    Raises
    ------
    ValueError
        If they are: interest in sessions a day is not interest in active days a day.
    """
    fitted = _description(fit).get("activity", activity)
    if fitted != activity:
        raise ValueError(
            f"the fit counts each {fitted} once, but here each {activity} counts; give --activity {fitted}"
        )


def refuse_hindsight(fit: DecayFit, at: pd.Timestamp) -> None:
    """Refuse to judge statements made at a cutoff by a fit that saw more.

    Raises
    ------
    LeakageError
        If the fit's own cutoff is later.
    """
    seen = pd.Timestamp(_description(fit).get("at", at))
    if seen > at:
        raise LeakageError(
            f"the fit saw the log up to {seen}, so it cannot be judged on what follows {at}; give --at {seen.date()} "
            "or later, or a fit made at an earlier cutoff"
        )


def _description(fit: DecayFit) -> Mapping[str, Any]:
    """What the fit tells of its model and data."""
    described: dict[str, Any] = json.loads(fit.idata.attrs["model"])
    return described
