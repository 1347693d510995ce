r"""Why a user's P(reactivation) is what it is: the parts of the logit with intervals, and in words.

In: a fit of the reactivation model, snapshots, a decay fit, some users. Out: :class:`Explanation`. For each draw s the
logit is a sum, :math:`\operatorname{logit} p_s = a_s + \sum_j c_{js}`, of the baseline a, which is where a user stands
who is average in all that the model looks at, and a part c for each thing that is known of the user. The sum holds
exactly, draw by draw; so it does for the means, but not for the ends of the intervals, nor after taking P.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from markupsafe import escape
from numpy.typing import NDArray
from scipy.special import expit

from bayesdecay import names
from bayesdecay.data.ids import positions
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.coefficients import BASELINE
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.intervals import interval_ends
from bayesdecay.model.returning import PART, ReactivationFit
from bayesdecay.model.uncertainty import DrawOptions
from bayesdecay.show.part_words import Part, PartWords, parts_of
from bayesdecay.show.reading import reading_notes
from bayesdecay.show.scene import Scene
from bayesdecay.show.visit import visited
from bayesdecay.show.words import percent_interval, signed_interval, window
from bayesdecay.units import days

__all__ = ["WITH_VISIT", "WORDS", "Explanation", "explain"]

Floats = NDArray[np.float64]

WORDS, WITH_VISIT = "words", "with_visit"
# Draws times users up to which everybody's interest is drawn (0.3 GB), so that P is that of ``draws``.
_MOST_NUMBERS = 40_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """Why some users' P(reactivation) is what it is.

    Attributes
    ----------
    table : DataFrame
        A row a user and part: ``user``, ``part`` (the terms of the formula, or baseline, interest and the like),
        ``words``, and ``mean``, ``lower``, ``upper`` [log-odds]. The baseline first, then the largest part first.
    chances : DataFrame
        A row a user: ``user``, ``p_reactivation`` with ``_lower`` and ``_upper``, and ``with_visit`` with both, which
        is P had the user been active once more at the cutoff.
    parts : DataArray
        The draws behind the table (sample, user, part) [log-odds].
    average : tuple of float
        P of a user who stands at the baseline: mean, lower and upper end.
    beyond : bool
        Whether a visit today is more than the fit's data hold, since all users in it had lapsed.
    notes : tuple of str
        How it is to be read, in sentences.
    horizon : str
        Label of the horizon that P is about.
    ci_prob : float
        Probability of the intervals.
    """

    table: pd.DataFrame
    chances: pd.DataFrame
    parts: xr.DataArray
    average: tuple[float, float, float]
    beyond: bool
    notes: tuple[str, ...]
    horizon: str
    ci_prob: float

    def of(self, user: Any) -> pd.DataFrame:
        """Rows of the table of one user.

        Raises
        ------
        ValueError
            If the user was not explained.
        """
        rows = self.table[self.table[names.USER] == user]
        if rows.empty:
            raise ValueError(f"user {user!r} was not explained; explained were {self._users()[:5]}")
        return rows.reset_index(drop=True)

    def sentences(self, user: Any) -> tuple[str, ...]:
        """Explanation of one user in words: P, what speaks for a return and what against it, and one visit more.

        Raises
        ------
        ValueError
            If the user was not explained.
        """
        parts = self.of(user)
        parts = parts[parts[PART] != BASELINE]
        row = self.chances[self.chances[names.USER] == user].to_dict("records")[0]
        now, then = (_with_ends(row, name) for name in (names.P_REACTIVATION, WITH_VISIT))
        sides = {
            "For a return speaks": parts["lower"] > 0,
            "Against it speaks": parts["upper"] < 0,
            "Of no clear weight": (parts["lower"] <= 0) & (parts["upper"] >= 0),
        }
        listed = [f"{what}: {_listed(parts[rows])}." for what, rows in sides.items() if rows.any()]
        visit = f"With one visit today: {percent_interval(*then)} instead of {percent_interval(*now)}"
        if now == then:
            visit = "With one visit today it would be the same: nothing that the model looks at would change"
        elif self.beyond:
            visit += ", which goes beyond what the model has seen"
        p = (
            f"P(return within {window(days(self.horizon))}) is {percent_interval(*now)}; of a user who is average in "
            f"everything it is {percent_interval(*self.average)}."
        )
        return (p, *listed, f"{visit}.")

    def _users(self) -> list[Any]:
        return self.chances[names.USER].tolist()

    def __str__(self) -> str:
        told = [f"User {user}. {' '.join(self.sentences(user))}" for user in self._users()]
        return "\n".join([*told, *self.notes])

    def _repr_html_(self) -> str:
        blocks = []
        for user in self._users():
            rows = self.of(user).to_dict("records")
            said = pd.DataFrame(
                {"what is known": [row[WORDS] for row in rows], "log-odds": [_size(row) for row in rows]}
            )
            table = said.to_html(index=False)
            blocks.append(f"<p><b>User {escape(user)}</b>. {escape(' '.join(self.sentences(user)))}</p>{table}")
        return "".join([*blocks, *(f"<p>{escape(note)}</p>" for note in self.notes)])


def explain(
    fit: ReactivationFit,
    snapshots: Snapshots,
    decay: DecayFit,
    users: Sequence[Any],
    *,
    options: DrawOptions | None = None,
) -> Explanation:
    """Explain some users' P(reactivation) by the parts of its logit, and by what one more visit would make of it.

    Parameters
    ----------
    snapshots : Snapshots
        At one cutoff, the users among them.
    users : sequence
        Ids of those to explain.
    options : DrawOptions, optional
        With the same seed and draws, P is that of ``fit.draws`` of the same snapshots, to the last digit where nothing
        of the user is missing, and up to 200,000 users for 200 draws; beyond, by the same law.

    Raises
    ------
    ValueError
        If no user is given, one is not among the snapshots, or these have several cutoffs.
    NotConvergedError
        If a fit did not converge and ``options`` do not allow it.

    Notes
    -----
    Terms of the same columns, such as ``log1p(recency)`` and its square, are one part: apart they mean nothing.

    The visit compares two states as the model sees them: this user, and one with the same history and one more activity
    at the cutoff, on the same draws of the coefficients. It is not the effect of making somebody visit.
    """
    told = options or DrawOptions()
    wanted = snapshots.of_users(list(dict.fromkeys(users)))
    if not len(wanted):
        raise ValueError("explain: no user is given; name at least one of the snapshots")
    few = len(snapshots) * told.draws > _MOST_NUMBERS
    whole = Scene.of(fit, wanted if few else snapshots, decay, told)
    scene = whole.rows(_places(wanted, wanted if few else snapshots))
    found = parts_of(scene.terms, scene.parts())
    values, then = np.stack([part.draws for part in found]), visited(wanted)
    chances = pd.DataFrame(
        {
            names.USER: wanted.table[names.USER],
            **_columns(names.P_REACTIVATION, expit(values.sum(axis=0)), told),
            **_columns(WITH_VISIT, _with_visit(fit, wanted, then, decay, scene, told), told),
        }
    )
    return Explanation(
        table=_table(wanted, found, PartWords.of(scene, told.tails), told),
        chances=chances,
        parts=_labelled(values, [part.label for part in found], wanted, fit.horizon),
        average=_average(expit(values[0, 0]), told),
        beyond=fit.description.get("lapsed_after", 0.0) > 0,
        notes=reading_notes(fit, wanted, then, told.ci_prob),
        horizon=fit.horizon,
        ci_prob=told.ci_prob,
    )


def _places(wanted: Snapshots, among: Snapshots) -> NDArray[np.int64]:
    """Rows of the wanted users."""
    (own,), (all_of,) = wanted.histories.values(), among.histories.values()
    return positions(own.table[names.USER], all_of.table[names.USER])


def _with_visit(
    fit: ReactivationFit, wanted: Snapshots, then: Snapshots, decay: DecayFit, scene: Scene, told: DrawOptions
) -> Floats:
    """P (row, sample) had the users been active once more; of who was active at the cutoff it is as before."""
    again = Scene.of(fit, then, decay, replace(told, random_seed=scene.seed))
    before, after = (next(iter(one.histories.values())).table[names.N].to_numpy() for one in (wanted, then))
    return np.where((after > before)[:, None], again.p(), scene.p())


def _table(wanted: Snapshots, found: list[Part], said: PartWords, told: DrawOptions) -> pd.DataFrame:
    """Rows of all users, the baseline first, then by size."""
    mean, ends = (
        of(np.stack([part.draws for part in found]))
        for of in (lambda x: x.mean(axis=2), lambda x: interval_ends(x, told.tails))
    )
    rows = []
    for row, user in enumerate(wanted.table[names.USER]):
        own = [place for place, part in enumerate(found) if part.said_of(row)]
        own.sort(key=lambda place: (found[place].label != BASELINE, -abs(mean[place, row])))
        rows += [(user, found[i].label, said.said(found[i], row), mean[i, row], *ends[:, i, row]) for i in own]
    return pd.DataFrame(rows, columns=[names.USER, PART, WORDS, "mean", names.LOWER, names.UPPER])


def _columns(name: str, draws: Floats, told: DrawOptions) -> dict[str, Floats]:
    """Mean and interval of draws (row, sample)."""
    lower, upper = interval_ends(draws, told.tails)
    return dict(zip((name, *names.bounds(name)), (draws.mean(axis=1), lower, upper), strict=True))


def _average(p: Floats, told: DrawOptions) -> tuple[float, float, float]:
    """Mean and interval of draws (sample,)."""
    lower, upper = interval_ends(p, told.tails)
    return float(p.mean()), float(lower), float(upper)


def _with_ends(row: dict[str, Any], name: str) -> tuple[float, float, float]:
    lower, upper = names.bounds(name)
    return row[name], row[lower], row[upper]


def _size(row: Mapping[str, Any]) -> str:
    return signed_interval(row["mean"], row[names.LOWER], row[names.UPPER])


def _listed(parts: pd.DataFrame) -> str:
    """Words of some parts, each with its size."""
    return "; ".join(f"{row[WORDS]}, {_size(row)}" for row in parts.to_dict("records"))


def _labelled(values: Floats, labels: list[str], wanted: Snapshots, horizon: str) -> xr.DataArray:
    """Draws (part, row, sample) of the parts with their names."""
    users = wanted.table[names.USER].to_numpy()
    found = xr.DataArray(values, dims=(PART, names.USER, names.SAMPLE), coords={PART: labels, names.USER: users})
    return found.transpose(names.SAMPLE, names.USER, PART).assign_attrs(horizon=horizon, units="log-odds")
