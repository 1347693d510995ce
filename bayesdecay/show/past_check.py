r"""Posterior-predictive check: would the fitted population have had the past that was seen?

In: a posterior and the history that it was fitted to. Out: :class:`PastCheck`, a row a statistic of the past: how many
users were never seen again, how often the others came, how long the gaps were, how long ago the last activity is; each
as seen and as the fitted population would have had it, given only when users were acquired. What differs is what the
law of the model leaves out, however well its parameters are known.

References
----------
Gelman, A., Meng, X.-L. and Stern, H. (1996). Posterior predictive assessment of model fitness via realized
discrepancies. *Statistica Sinica* 6(4), 733-807.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay.data.history import History
from bayesdecay.data.history_features import gaps
from bayesdecay.decide.risk import check_share
from bayesdecay.model.past_counts import Tally, tally, tally_replicated
from bayesdecay.model.population import Population
from bayesdecay.names import bounds

__all__ = ["COUNTS", "GAPS", "RETURNS", "SINCE", "PastCheck", "check_past"]

Floats = NDArray[np.float64]

# The aspects of a past.
RETURNS, COUNTS, GAPS, SINCE = "returns", "activities a user", "gaps", "time since the last activity"
# Lower ends of the groups by number of activities; the last group is open.
_STARTS = (0, 1, 2, 3, 5, 10, 20, 50)
# Gaps and silences are cut where these shares of what was seen lie below.
_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
_BUSIEST = 0.01


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PastCheck:
    """The past beside what the fitted population would have had.

    Attributes
    ----------
    at : Timestamp
        The cutoff that the past ends with.
    ci_prob : float
        Probability of the intervals.
    table : DataFrame
        A row a statistic: ``aspect`` and ``statistic`` in words; ``share``, whether it is a share; ``seen``;
        ``replicated``, its mean over the replicated pasts, with ``_lower`` and ``_upper``; ``p``, the share of
        replicated pasts that reach what was seen, ties by half.
    """

    at: pd.Timestamp
    ci_prob: float
    table: pd.DataFrame

    def of(self, aspect: str) -> pd.DataFrame:
        """Rows of one aspect."""
        return self.table[self.table["aspect"] == aspect].reset_index(drop=True)

    @property
    def twice(self) -> pd.Series:
        """Rows that say what another one says: users with no activity after the first are never seen again."""
        return (self.table["aspect"] == COUNTS) & (self.table["statistic"] == "0")

    def _repr_html_(self) -> str:
        told: str = self.table.to_html(float_format="{:,.3f}".format, index=False)
        return told


def check_past(
    population: Population, history: History, *, ci_prob: float = 0.9, random_seed: int | None = None
) -> PastCheck:
    """Draw the past of a history's users from a population, once a draw, and compare.

    Parameters
    ----------
    population : Population
        The posterior of a fit to this history; with 200 draws p is known to 0.035.
    history : History
        The users as the log stood at the cutoff.
    ci_prob : float
        Probability of the equal-tailed intervals.
    random_seed : int, optional
        The same seed gives the same check.

    Raises
    ------
    ValueError
        If nobody came back: there are no gaps to look at.
    """
    tail = (1.0 - check_share(ci_prob, "ci_prob")) / 2.0
    gap_cuts, since_cuts = _cuts(history)
    seen = tally(history, gap_cuts, since_cuts)
    drawn = tally_replicated(population, history, gap_cuts, since_cuts, np.random.default_rng(random_seed))
    rows = []
    pairs = zip(_statistics(seen, gap_cuts, since_cuts), _statistics(drawn, gap_cuts, since_cuts), strict=True)
    for (aspect, statistic, share, own), (*_, values) in pairs:
        lower, upper = np.quantile(values, [tail, 1.0 - tail])
        ends = dict(zip(bounds("replicated"), (lower, upper), strict=True))
        p = np.mean(values > own[0]) + 0.5 * np.mean(values == own[0])
        told = {"aspect": aspect, "statistic": statistic, "share": share, "seen": own[0]}
        rows.append(told | {"replicated": values.mean(), **ends, "p": p})
    return PastCheck(at=history.at, ci_prob=ci_prob, table=pd.DataFrame(rows))


def _cuts(history: History) -> tuple[Floats, Floats]:
    """Cut points of gaps and of silences [days]."""
    blocks = list(history.blocks())
    between = np.concatenate([gaps(block) for block in blocks])
    since = np.concatenate([(block.T - block.last)[block.n > 0] for block in blocks])
    if not between.size:
        raise ValueError("check: nobody was active again after the acquisition, so there is no past to compare")
    first, second = (np.unique(np.quantile(part, _LEVELS, method="inverted_cdf")) for part in (between, since))
    return first, second


def _statistics(told: Tally, gap_cuts: Floats, since_cuts: Floats) -> Iterator[tuple[str, str, bool, Floats]]:
    """Aspect, statistic in words, whether it is a share, and its values (past,)."""
    number, users = np.arange(told.users.shape[1]), told.users.sum(axis=1)
    activities = told.users @ number
    yield RETURNS, "users never seen again", True, told.users[:, 0] / users
    yield RETURNS, "activities a user", False, activities / users
    yield RETURNS, "activities of the busiest user", False, _busiest(told.users)
    what = f"activities by the busiest {_BUSIEST:.0%} of users".replace("%", "\N{NO-BREAK SPACE}%")
    yield RETURNS, what, True, _share_of_busiest(told.users, activities)
    for start, end in zip(_STARTS, (*_STARTS[1:], number.size), strict=True):
        label = f"{start}" if end == start + 1 else f"{start}-{end - 1}" if end < number.size else f"{start} or more"
        yield COUNTS, label, True, told.users[:, start:end].sum(axis=1) / users
    for aspect, counts, cuts in ((GAPS, told.gaps, gap_cuts), (SINCE, told.since, since_cuts)):
        below, all_of = np.cumsum(counts, axis=1), np.maximum(counts.sum(axis=1), 1)
        for i, cut in enumerate(cuts):
            yield aspect, _at_most(cut), True, below[:, i] / all_of


def _at_most(length: float) -> str:
    """Write a cut point [days] to its last digit: of 1.96 days it is not the same to say 2."""
    if length == round(length):
        return f"at most {length:.0f} day{'' if length == 1 else 's'}"
    return f"at most {length:.1f} days" if length >= 1 else f"at most {24 * length:.1f} hours"


def _busiest(users: NDArray[np.int64]) -> Floats:
    return np.asarray(users.shape[1] - 1 - np.argmax(users[:, ::-1] > 0, axis=1), dtype=float)


def _share_of_busiest(users: NDArray[np.int64], activities: NDArray[np.int64]) -> Floats:
    """Share of all activities that are the busiest users', the one at the border by the part that is among them."""
    top = np.maximum(_BUSIEST * users.sum(axis=1), 1.0)
    from_busiest = np.cumsum(users[:, ::-1], axis=1)
    taken = np.diff(np.minimum(from_busiest, top[:, None]), axis=1, prepend=0.0)[:, ::-1]
    return np.asarray((taken @ np.arange(users.shape[1])) / np.maximum(activities, 1))
