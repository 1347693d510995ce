r"""Drift: whether a saved fit still describes the users, and whether to refit.

In: a fit made earlier, and the users as the log stands now. Out: :class:`Drift`, a table and a verdict in plain words.
Two things may have moved:

====================  ===============================================================================================
calibration           users known at the fit's cutoff: what was forecast of them from there, beside what they did since
population            users acquired since: what the fit expects of users seen as long as they, beside what they did;
                      and whether others are acquired, by group and covariates
====================  ===============================================================================================

The rule: refit where a measure is off by more than matters *and* by more than chance (Holm's correction over the
measures that decide, at 5 %). What a refit brings is not told by that, as a model may be wrong in a way that no refit
mends; so it is tried.

References
----------
Holm, S. (1979). A simple sequentially rejective multiple test procedure. *Scand. J. Statist.* 6(2), 65-70.
https://www.jstor.org/stable/4615733
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bayesdecay import names
from bayesdecay.data.history import History
from bayesdecay.data.ids import positions
from bayesdecay.data.rewind import as_of
from bayesdecay.decide.risk import check_share
from bayesdecay.errors import DataError, LeakageError
from bayesdecay.files import replacing
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.show.drift_rules import judged, said
from bayesdecay.show.refit import Refit, refitted
from bayesdecay.show.shift import KNOWN, NEW, known_users, mix, new_users
from bayesdecay.show.verdicts import Finding
from bayesdecay.show.words import count, date
from bayesdecay.units import cutoff_instant

__all__ = ["Drift", "drift"]

# Of more users a random part is looked at: the error of a share is then half a point.
_MOST_KNOWN, _MOST_NEW, _LEAST = 20_000, 5_000, 30
# The rarest thing that S draws can tell has a probability of 1 / (S + 1), which Holm's rule must let pass.
_LEAST_DRAWS = 300
_COLUMNS = ["users", "measure", "expected", *names.bounds("expected"), "seen", "z", "p"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drift:
    """Whether a fit still holds.

    Attributes
    ----------
    fitted_at, at
        Cutoffs of the fit, and of the data that it is compared with.
    known, new
        Users known at the former, and acquired since.
    ci_prob
        Probability of the intervals.
    table
        A row a measure: ``users`` (known or new), ``measure``, ``expected`` by the fit with ``_lower`` and ``_upper``
        (what chance and the posterior allow), ``seen``, ``z`` (standard deviations apart), ``p`` (two-sided, of this
        measure alone), ``beyond_chance`` (after Holm's correction), ``matters`` (off by more than matters, none where
        the measure does not decide).
    refit
        What fitting again to all of the data changes; None where it was not tried.
    """

    fitted_at: pd.Timestamp
    at: pd.Timestamp
    known: int
    new: int
    ci_prob: float
    table: pd.DataFrame
    refit: Refit | None

    @property
    def drifted(self) -> bool:
        """Whether something is off by more than matters and by more than chance."""
        return bool(self._wrong.any())

    @property
    def advised(self) -> bool:
        """Whether to refit: something is off, and a new fit is not known to be no better."""
        return self.drifted and (self.refit is None or not self.refit.told or self.refit.gains)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What moved and what did not, and what to do, each good or bad."""
        parts = (self._of(KNOWN), self._of(NEW), self._advice())
        return tuple(part for part in parts if part is not None)

    @property
    def verdict(self) -> tuple[str, ...]:
        """The findings in plain sentences."""
        return tuple(finding.text for finding in self.findings)

    @property
    def _wrong(self) -> pd.Series:
        return self.table["beyond_chance"] & self.table["matters"].eq(True)

    def _of(self, users: str) -> Finding | None:
        rows = self.table[self.table["users"] == users]
        wrong = rows[self._wrong[rows.index]]
        what = (
            f"Forecasts made on {date(self.fitted_at)} of {count(self.known)} users"
            if users == KNOWN
            else f"The {count(self.new)} users acquired since"
        )
        if rows.empty:
            few = "Nobody was acquired since." if users == NEW and not self.new else f"{what} are too few to be judged."
            return Finding(good=True, text=few)
        if wrong.empty:
            text = "still hold" if users == KNOWN else "are as the fit expects"
            return Finding(good=True, text=f"{what} {text}: {said(rows.head(2))}.")
        text = "no longer hold" if users == KNOWN else "are not as the fit expects"
        return Finding(good=False, text=f"{what} {text}: {said(wrong)}.")

    def _advice(self) -> Finding:
        brings = "" if self.refit is None else f" {self.refit}"
        if not self.drifted:
            return Finding(
                good=True, text=f"No need to refit: nothing is off by what matters and beyond chance.{brings}"
            )
        if self.advised:
            return Finding(good=False, text=f"Refit.{brings}")
        text = (
            f"Refitting would not mend it.{brings} So the fault is not the age of the fit, but what the model leaves "
            "out, such as seasons and offers."
        )
        return Finding(good=False, text=text)

    def to_dict(self) -> dict[str, Any]:
        """Return everything in what JSON knows."""
        table = self.table.astype(object).where(self.table.notna(), None)
        return {
            "fitted_at": self.fitted_at.isoformat(),
            "at": self.at.isoformat(),
            "known_users": self.known,
            "new_users": self.new,
            "ci_prob": self.ci_prob,
            "drifted": self.drifted,
            "refit_advised": self.advised,
            "verdict": list(self.verdict),
            "measures": table.to_dict("records"),
            "refit": None if self.refit is None else self.refit.to_dict(),
        }

    def to_json(self, path: str | Path) -> Path:
        """Write everything to a JSON file, whole or not at all."""
        with replacing(path) as part:
            part.write_text(json.dumps(self.to_dict(), indent=2, allow_nan=False), encoding="utf-8")
        return Path(path)

    def __str__(self) -> str:
        """Say the verdict."""
        return "\n".join(self.verdict)

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in self.verdict)
        return f"<ul>{said}</ul>{self.table.to_html(float_format='{:,.3g}'.format, index=False)}"


def drift(
    fit: DecayFit,
    history: History,
    *,
    since: str | pd.Timestamp | None = None,
    try_refit: bool = True,
    draws: int = 400,
    ci_prob: float = 0.9,
    random_seed: int | None = None,
) -> Drift:
    """Compare a saved fit with newer data, and say whether to refit.

    Parameters
    ----------
    fit : DecayFit
        Made at an earlier cutoff.
    history : History
        The users as the log stands now, those of the fit among them, counted in the same way.
    since : date or text, optional
        Cutoff from which users' forecasts are judged; that of the fit unless told, and none before it.
    try_refit : bool
        Fit again, by the Laplace approximation, and tell what that would change; takes seconds.
    draws : int
        Posterior draws, 300 or more: each is a world that might have been, and of fewer none is rare enough.
    ci_prob : float
        Probability of the equal-tailed intervals.
    random_seed : int, optional
        The same seed gives the same result.

    Raises
    ------
    NotConvergedError
        If the fit did not converge.
    DataError
        If the history has another unit of activity, or nothing after the cutoff.
    ValueError
        If there are too few draws.
    LeakageError
        If ``since`` is before the fit's cutoff.

    Examples
    --------
    >>> found = drift(bd.load("decay.nc"), bd.summarize(log))  # doctest: +SKIP
    >>> print(found)  # doctest: +SKIP
    """
    check_share(ci_prob, "ci_prob")
    told = json.loads(fit.idata.attrs["model"])
    before = as_of(history, _cutoff(told, history, since))
    population = fit.population(draws)
    if population.size < _LEAST_DRAWS:
        raise ValueError(f"drift needs at least {_LEAST_DRAWS} posterior draws to tell chance, got {population.size}")
    known, new, length = _parted(history, before)
    rng, tails = np.random.default_rng(random_seed), np.array([(1 - ci_prob) / 2, (1 + ci_prob) / 2])
    rows = []
    if len(before) >= _LEAST:
        kept = _some(len(before), _MOST_KNOWN, rng)
        counts = (known.table[names.N].to_numpy() - before.table[names.N].to_numpy())[kept]
        part = before.over(before.table.take(pa.array(kept)))
        rows += known_users(population, part, counts, length=length, rng=rng, tails=tails)
    if len(new) >= _LEAST:
        part = new.over(new.table.take(pa.array(_some(len(new), _MOST_NEW, rng))))
        rows += new_users(population, part, DecayModel().grid(history), rng=rng, tails=tails)
        rows += mix(known, new, population)
    return Drift(
        fitted_at=before.at,
        at=history.at,
        known=len(before),
        new=len(new),
        ci_prob=ci_prob,
        table=judged(pd.DataFrame(rows, columns=_COLUMNS)),
        refit=refitted(fit, history, rng=rng) if try_refit else None,
    )


def _cutoff(told: Mapping[str, Any], history: History, since: str | pd.Timestamp | None) -> pd.Timestamp:
    """Cutoff from which forecasts are judged, checked against the fit and the history."""
    if told["activity"] != history.activity:
        raise DataError(
            f"the fit counts each {told['activity']} once, but the history each {history.activity}; summarize the log "
            f"with activity={told['activity']!r}"
        )
    if since is None and "at" not in told:
        raise ValueError("the fit does not tell its cutoff; say with since= what it had seen")
    at = pd.Timestamp(told["at"]) if since is None else cutoff_instant(since)
    if at < pd.Timestamp(told.get("at", at)):
        raise LeakageError(f"the fit saw the log up to {told['at']}; it cannot be judged on what follows {at}")
    if history.at - at < pd.Timedelta(days=1):
        raise DataError(f"the history ends at {history.at}, and the fit saw all up to {at}; summarize the log later")
    return at


def _parted(history: History, before: History) -> tuple[History, History, float]:
    """Users known then, as they stand now, and those acquired since; and the time between [days]."""
    known = positions(history.table[names.USER], before.table[names.USER]) >= 0
    parts = [history.over(history.table.filter(pa.array(mask))) for mask in (known, ~known)]
    length = float(parts[0].table[names.T][0].as_py() - before.table[names.T][0].as_py())
    return parts[0], parts[1], length


def _some(size: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of all, or of a random part, in order."""
    return np.arange(size) if size <= most else np.sort(rng.choice(size, most, replace=False))
