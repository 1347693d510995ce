"""Candidates: a whole way from the log to P(reactivation), described in one piece, to be compared with others.

A candidate says all that may differ between two ways: what counts as an activity, what is known of a user, the decay
model, the reactivation model. What is asked of all of them alike is in :mod:`bayesdecay.show.question`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bayesdecay import units
from bayesdecay.data.activities import check_activity
from bayesdecay.data.features import DEFAULT_FEATURES
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.prior import Prior
from bayesdecay.model.reactivation import DEFAULT_FORMULA, ReactivationModel

__all__ = ["Candidate", "default_candidates"]

_SHY = Prior(
    distribution="Normal",
    parameters={"mu": 0.0, "sigma": 0.25},
    reason="one standard deviation of a feature changes the odds by less than a half or so",
)


# Without eq: a brought table does not compare as a whole.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """One way from the log to P(reactivation); the defaults are the package's own.

    Parameters
    ----------
    decay : DecayModel
        Restoration learned or fixed, priors.
    reactivation : ReactivationModel
        Formula, priors, how interest enters.
    activity, session_gap, group, covariates
        As in :func:`bayesdecay.summarize`, for the users' histories.
    features, columns, brought
        As in :func:`bayesdecay.snapshots`; a group that a formula names must be among the columns.
    past_cutoffs : int
        Number of earlier cutoffs, a horizon apart, that are learned from before a forecast is made; fewer where the
        log is too short. For ``by="rolling"`` alone.

    Raises
    ------
    ValueError
        If the unit is unknown, there is nothing to learn from, or interest enters by the joint form.
    """

    decay: DecayModel = field(default_factory=DecayModel)
    reactivation: ReactivationModel = field(default_factory=ReactivationModel)
    activity: str = "day"
    session_gap: units.Duration = "30min"
    features: Sequence[str] = DEFAULT_FEATURES
    columns: Sequence[str] = ()
    brought: Any = None
    group: str | None = None
    covariates: Sequence[str] = ()
    past_cutoffs: int = 3

    def __post_init__(self) -> None:
        check_activity(self.activity)
        units.days(self.session_gap)
        if self.past_cutoffs < 1:
            raise ValueError(f"past_cutoffs must be at least 1, got {self.past_cutoffs}")
        if self.reactivation.interest == "joint":
            raise ValueError(
                "interest='joint' samples the interest of the users it learns from and cannot judge others; compare "
                "interest='uncertain' with 'plugin'"
            )

    @property
    def history_key(self) -> Hashable:
        """Equal for candidates whose users have the same histories."""
        return (self.activity, units.days(self.session_gap), self.group, *self.covariates)

    @property
    def decay_key(self) -> Hashable:
        """Equal for candidates whose decay model and histories are the same, so that one fit serves both."""
        return (self.history_key, repr(self.decay))

    @property
    def snapshots_key(self) -> Hashable:
        """Equal for candidates that know the same of users at a cutoff."""
        return (self.history_key, tuple(self.features), tuple(self.columns), id(self.brought))


def default_candidates(*, lapsed_after: units.Duration = "60d", group: str | None = None) -> dict[str, Candidate]:
    """Make the candidates that answer how to set the parameters, each but one step away from the default.

    Parameters
    ----------
    lapsed_after : duration
        As in the comparison: a trailing window tells lapsed users apart only if it is longer.
    group : str, optional
        Column of the log, such as a channel, over which both models are partially pooled in one more candidate.

    Returns
    -------
    dict of str to Candidate
        From the default on; take out or add what you like.

    Examples
    --------
    >>> list(default_candidates())[:4]
    ['default', 'rho 0', 'rho 1', 'plugin interest']
    """
    window = f"active_{units.duration_label(2 * units.days(lapsed_after) or 30.0)}"
    found = {
        "default": Candidate(),
        "rho 0": Candidate(decay=DecayModel(restoration=0.0)),
        "rho 1": Candidate(decay=DecayModel(restoration=1.0)),
        "regulars": Candidate(decay=DecayModel(regulars=True)),
        "plugin interest": Candidate(reactivation=ReactivationModel(interest="plugin")),
        "no interest": Candidate(
            reactivation=ReactivationModel(formula=DEFAULT_FORMULA.replace("interest + ", "")),
        ),
        "shy slopes": Candidate(reactivation=ReactivationModel(priors={"slope": _SHY})),
        "window": Candidate(
            reactivation=ReactivationModel(formula=f"{DEFAULT_FORMULA} + log1p({window})"),
            features=tuple(dict.fromkeys((*DEFAULT_FEATURES, window))),
        ),
        "curves": Candidate(
            reactivation=ReactivationModel(
                formula=f"{DEFAULT_FORMULA} + log1p(recency):log1p(frequency) + {{log1p(recency)**2}} + "
                "{log1p(frequency)**2}"
            )
        ),
    }
    if group is not None:
        by_group = ReactivationModel(formula=f"{DEFAULT_FORMULA} + (1 | `{group}`)")
        found["groups"] = replace(Candidate(), reactivation=by_group, group=group, columns=(group,))
    return found
