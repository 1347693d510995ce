"""What a report is made of, and the few numbers that several of its sections share.

In: the objects of one run, from the log to the plan. Out: :class:`Digest`, whose size does not grow with the users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from bayesdecay import names, units
from bayesdecay.data.events import Events
from bayesdecay.data.history import History
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.decide.plan import Plan
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.population import Population
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.model.scoring import Scores
from bayesdecay.model.uncertainty import DrawOptions
from bayesdecay.show.checks import ForecastCheck
from bayesdecay.show.outlook import expected_returns, lapsed_count
from bayesdecay.show.reasons import Reasons
from bayesdecay.show.users import horizons, top

__all__ = ["Digest", "ReportContent"]

# Intervals of curves and shares are smooth to the eye with these; sums over users, which need an array of
# (draw, user), with fewer.
_DRAWS, _DRAWS_OF_SUMS = 1_000, 200
# Lapsed users, the likeliest to return, whose probability is explained.
_EXPLAINED = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportContent:
    """The objects of one run.

    Attributes
    ----------
    title : str
        Heading of the report.
    log : Events
        The log.
    history : History
        The users as the log stood at the cutoff.
    decay : DecayFit
        The fit of the decay model.
    scores : Scores
        A row a user of the history; ``p_reactivation`` of lapsed users, missing for the others, may be among the
        columns.
    reactivation : mapping of str to fit
        Fits of the reactivation model by the label of their horizon; may be empty.
    lapsed : Snapshots, optional
        The users lapsed at the cutoff, as the fits of the reactivation model see them; without them the report does not
        say what their probabilities rest on.
    plan : Plan, optional
        Whom to contact.
    check : ForecastCheck, optional
        How such statements did on what was held out.
    settings : mapping
        Settings of the run, by name, as they are to be read.
    notes : tuple of str
        What a reader must know first, in sentences, such as what could not be done.
    lapsed_after : duration
        Silence after which a user counts as lapsed.
    draws : int
        Posterior draws that the probabilities of the lapsed users rest on.
    random_seed : int, optional
        Seed of the draws that only the report needs.

    Raises
    ------
    ValueError
        If the scores are not of the users of the history.
    """

    title: str
    log: Events
    history: History
    decay: DecayFit
    scores: Scores
    reactivation: Mapping[str, ReactivationFit] = field(default_factory=dict)
    lapsed: Snapshots | None = None
    plan: Plan | None = None
    check: ForecastCheck | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lapsed_after: units.Duration = "60d"
    draws: int = 200
    random_seed: int | None = None

    def __post_init__(self) -> None:
        """Check that the scores are of these users."""
        if len(self.scores) != len(self.history) or not len(self.history):
            raise ValueError(
                f"report: {len(self.scores)} users have scores, the history has {len(self.history)}; score this history"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Digest:
    """Numbers that several sections share.

    Attributes
    ----------
    population : Population
        The posterior, some draws of it.
    labels : mapping of str to float
        Horizons of the scores and their lengths [days].
    returns : DataFrame
        See :func:`~bayesdecay.show.outlook.expected_returns`.
    lapsed : int
        Number of lapsed users.
    lapsed_after : float
        Silence after which a user counts as lapsed [days].
    reasons : mapping of str to Reasons
        What P(reactivation) rests on, by the label of its horizon; the likeliest users are explained for the longest.
    """

    population: Population
    labels: Mapping[str, float]
    returns: pd.DataFrame
    lapsed: int
    lapsed_after: float
    reasons: Mapping[str, Reasons]

    @classmethod
    def of(cls, content: ReportContent) -> Digest:
        """Compute what the sections share."""
        table, lapsed_after = content.scores.table, units.days(content.lapsed_after)
        labels = {label: units.days(label) for label in horizons(table, names.P_RETURN)}
        returns = expected_returns(
            content.decay.population(_DRAWS_OF_SUMS, allow_unconverged=True),
            content.history,
            table,
            labels,
            ci_prob=content.scores.ci_prob,
            random_seed=content.random_seed,
        )
        lapsed = lapsed_count(content.history, lapsed_after)
        return cls(
            population=content.decay.population(_DRAWS, allow_unconverged=True),
            labels=labels,
            returns=returns,
            lapsed=lapsed,
            lapsed_after=lapsed_after,
            reasons=_reasons(content),
        )

    @property
    def longest(self) -> str | None:
        """Label of the longest horizon; None where the scores have none."""
        return max(self.labels, key=lambda label: self.labels[label]) if self.labels else None


def _reasons(content: ReportContent) -> dict[str, Reasons]:
    """Find out what P(reactivation) rests on, where the lapsed users are told."""
    if content.lapsed is None or not len(content.lapsed):
        return {}
    options = DrawOptions(
        draws=content.draws,
        ci_prob=content.scores.ci_prob,
        random_seed=content.random_seed,
        allow_unconverged=True,
    )
    table, found = content.scores.table, {}
    longest = max(content.reactivation, key=units.days, default=None)
    for label, fit in content.reactivation.items():
        likeliest = top(table, names.per_horizon(names.P_REACTIVATION, label), _EXPLAINED) if label == longest else None
        users = [] if likeliest is None else likeliest[names.USER].to_pylist()
        found[label] = Reasons.of(fit, content.lapsed, content.decay, users, options=options)
    return found
