"""Whether a history holds enough to learn from: what is refused before anything is fitted, and what is said with it.

In: a history and perhaps the horizon of the forecasts. Out: :class:`Shortfall` for each rule of
:data:`SUFFICIENCY_RULES` that is broken, with the numbers and the remedy. The commercial systems have such rules:
Microsoft's churn prediction asks for at least 10 customers, better 1,000, and for twice the time that is forecast.

References
----------
Microsoft, Dynamics 365 Customer Insights, Predict transaction churn: prerequisites.
https://learn.microsoft.com/en-us/dynamics365/customer-insights/predict-transactional-churn
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from bayesdecay.data.history_features import gaps
from bayesdecay.data.record import History
from bayesdecay.errors import DataError
from bayesdecay.names import FIRST, N

__all__ = ["REFUSE", "SUFFICIENCY_RULES", "WARN", "Shortfall", "SufficiencyRule", "require_enough", "shortfalls"]

REFUSE, WARN = "refuse", "warn"

# Below 10 users nothing of how users differ can be told; below 200, a share of one half is known to 6 points at best.
_FEWEST_USERS, _FEW_USERS = 10, 200
# The decay is learned from those who came back; with 50 of them a half-life is known to a factor of two or so.
_FEW_RETURNED = 50
_TIMES_HORIZON = 2.0
# A log that begins when the shop does sees users come in over time, not a quarter of them in its first fiftieth.
_BEGINNING, _AT_BEGINNING = 1 / 50, 0.25
_ALL_AT_ONCE = 1 / 100
_OF_ONE = 0.05
_BURST, _IN_BURSTS = 1 / 48, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rules look at: lengths in days, numbers of users and activities, gaps that are shorter than a burst."""

    users: int
    returned: int
    activities: int
    busiest: int
    longest: float
    acquired_over: float
    at_beginning: int
    bursts: int
    activity: str
    horizon: float | None

    @classmethod
    def of(cls, history: History, horizon: float | None) -> Facts:
        """Look at a history."""
        n, first = history.table[N].to_numpy(), history.table[FIRST].to_numpy()
        blocks = list(history.blocks())
        longest = max((float(block.T.max(initial=0.0)) for block in blocks), default=0.0)
        since = (first - first.min()) / np.timedelta64(1, "D") if first.size else np.zeros(0)
        return cls(
            users=len(history),
            returned=int((n > 0).sum()),
            activities=int(n.sum()),
            busiest=int(n.max(initial=0)),
            longest=longest,
            acquired_over=float(since.max(initial=0.0)),
            at_beginning=int((since <= _BEGINNING * longest).sum()),
            bursts=int(sum((gaps(block) < _BURST).sum() for block in blocks)),
            activity=history.activity,
            horizon=horizon,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SufficiencyRule:
    """One thing that may be lacking.

    Attributes
    ----------
    level
        ``"refuse"``: nothing can be learned. ``"warn"``: something can, and this must be said with it.
    broken
        Whether it is lacking.
    text
        What is lacking, why that matters, what to do, in one sentence with the numbers.
    """

    level: str
    broken: Callable[[Facts], bool]
    text: Callable[[Facts], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """A rule that is broken: its name, ``"refuse"`` or ``"warn"``, and the sentence to tell."""

    rule: str
    level: str
    text: str

    @property
    def sentence(self) -> str:
        """The text as a sentence of its own."""
        return f"{self.text[0].upper()}{self.text[1:]}."


SUFFICIENCY_RULES: Mapping[str, SufficiencyRule] = MappingProxyType(
    {
        "fewest_users": SufficiencyRule(
            level=REFUSE,
            broken=lambda told: told.users < _FEWEST_USERS,
            text=lambda told: (
                f"{_users(told.users)} up to the cutoff, and {_FEWEST_USERS} are the fewest from which anything can be "
                "said of how users differ; choose a later cutoff or bring a larger log"
            ),
        ),
        "no_time": SufficiencyRule(
            level=REFUSE,
            broken=lambda told: told.longest <= 0.0,
            text=lambda told: (
                "nobody was seen for longer than the first activity, so nobody could come back; choose a later cutoff"
            ),
        ),
        "no_return": SufficiencyRule(
            level=REFUSE,
            broken=lambda told: told.longest > 0.0 and told.activities == 0,
            text=lambda told: (
                f"none of {told.users:,} users was active again after the first {told.activity} within up to "
                f"{told.longest:,.0f} days, so nothing can be learned of how interest fades; check that the column of "
                "users identifies persons and not visits or orders, or choose a later cutoff"
            ),
        ),
        "few_users": SufficiencyRule(
            level=WARN,
            broken=lambda told: _FEWEST_USERS <= told.users < _FEW_USERS,
            text=lambda told: (
                f"{_users(told.users)}: a share of one half is known to ±{_margin(told.users):.0f} points only, so "
                f"most differences are noise; from {_FEW_USERS} on they begin to show"
            ),
        ),
        "few_returned": SufficiencyRule(
            level=WARN,
            broken=lambda told: 0 < told.returned < _FEW_RETURNED,
            text=lambda told: (
                f"only {_users(told.returned)} of {told.users:,} ever came back, and all that is learned of the decay "
                "rests on them: half-lives follow the priors more than the data; look at priors_table()"
            ),
        ),
        "short_history": SufficiencyRule(
            level=WARN,
            broken=lambda told: told.horizon is not None and 0 < told.longest < _TIMES_HORIZON * told.horizon,
            text=lambda told: (
                f"nobody was seen for longer than {told.longest:,.0f} days, less than twice the "
                f"{_days(told.horizon or 0)} that are forecast: what happens so late is told by the form of "
                "the decay, not by data; take a shorter horizon or a later cutoff"
            ),
        ),
        "acquired_at_once": SufficiencyRule(
            level=WARN,
            broken=lambda told: (
                told.users > 1 and told.longest > 1 and told.acquired_over < _ALL_AT_ONCE * told.longest
            ),
            text=lambda told: (
                f"all {told.users:,} users were acquired within {_days(told.acquired_over)}: that interest fades "
                "cannot be told from a season or from a shop that fades; bring users who were acquired at other times"
            ),
        ),
        "begins_midway": SufficiencyRule(
            level=WARN,
            broken=lambda told: (
                told.acquired_over >= _ALL_AT_ONCE * told.longest
                and told.at_beginning > max(_AT_BEGINNING * told.users, _FEWEST_USERS)
            ),
            text=lambda told: (
                f"{100 * told.at_beginning / told.users:.0f} % of the users were first seen within "
                f"{_days(_BEGINNING * told.longest)} of the log's beginning: many of them were probably users long "
                "before it, and count as new all the same; bring a log that goes back further, or the users who are new"
            ),
        ),
        "one_user": SufficiencyRule(
            level=WARN,
            broken=lambda told: told.users >= _FEWEST_USERS and told.busiest > max(_OF_ONE * told.activities, 100),
            text=lambda told: (
                f"one user made {told.busiest:,} of {told.activities:,} activities; see whether it is a bot, a till or "
                "a test account, and take it out of the log"
            ),
        ),
        "bursts": SufficiencyRule(
            level=WARN,
            broken=lambda told: told.activity == "event" and told.bursts > max(_IN_BURSTS * told.activities, 10),
            text=lambda told: (
                f"{100 * told.bursts / told.activities:.0f} % of the events follow the one before within half an hour: "
                "they come in bursts, and counting each is to take them for independent; count sessions or days "
                "(activity='session' or 'day')"
            ),
        ),
    }
)


def shortfalls(history: History, *, horizon: float | None = None) -> tuple[Shortfall, ...]:
    """Tell what a history lacks, what is refused first.

    Parameters
    ----------
    history : History
        The users as the log stood at the cutoff that a model would learn from.
    horizon : float, optional
        How far forecasts reach [days].
    """
    told = Facts.of(history, horizon)
    found = [(name, rule) for name, rule in SUFFICIENCY_RULES.items() if rule.broken(told)]
    return tuple(Shortfall(rule=name, level=rule.level, text=rule.text(told)) for name, rule in found)


def require_enough(history: History, *, horizon: float | None = None) -> tuple[Shortfall, ...]:
    """Let a history pass that something can be learned from, and give what must be said with it.

    Raises
    ------
    DataError
        If nothing can; all rules that are broken so are told at once.
    """
    found = shortfalls(history, horizon=horizon)
    if refused := [one.text for one in found if one.level == REFUSE]:
        raise DataError(f"not enough to learn from up to {pd.Timestamp(history.at):%Y-%m-%d}: {'; '.join(refused)}")
    return found


def _margin(users: int) -> float:
    """Half the width of the 90 % interval of a share of one half [points]."""
    return 100 * 1.645 * 0.5 / float(np.sqrt(max(users, 1)))


def _days(length: float) -> str:
    whole = max(round(length), 1)
    return f"{whole} day{'' if whole == 1 else 's'}"


def _users(number: int) -> str:
    return f"{number:,} user{'' if number == 1 else 's'}"
