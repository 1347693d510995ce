"""What P(reactivation) rests on, as a report tells it: where the doubt comes from, what goes with a return, and why.

In: a fit of the reactivation model, the lapsed users, a decay fit. Out: :class:`Reasons`, some small tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bayesdecay import names
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.model.uncertainty import (
    SOURCES,
    VARIANCE,
    DrawOptions,
    interval_widening,
    share_of,
    variance_shares,
)
from bayesdecay.show.dependence import CHANGE, ONE_UNIT, average_marginal_effects, partial_dependence
from bayesdecay.show.explain import Explanation, explain

__all__ = ["Reasons"]

# The shares of 1,000 users chosen at random are those of all to a tenth of a point.
_USERS = 1_000
# Draws of each kind, all of which meet: more move the shares by less than a tenth of a point.
_CROSSED = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reasons:
    """What P(reactivation) within one horizon rests on.

    Attributes
    ----------
    shares : mapping of str to float
        Share of each source in the variance of the outcomes of single lapsed users, see
        :func:`~bayesdecay.model.uncertainty.variance_shares`.
    widening : DataFrame
        See :func:`~bayesdecay.model.uncertainty.interval_widening`.
    effects : DataFrame
        See :func:`~bayesdecay.show.dependence.average_marginal_effects`.
    missing : DataFrame
        What was missing in the data of the fit.
    explanation : Explanation, optional
        Of the users asked for, and with it ``curves``: partial dependence on the two features that matter most.
    """

    shares: Mapping[str, float]
    widening: pd.DataFrame
    effects: pd.DataFrame
    missing: pd.DataFrame
    explanation: Explanation | None
    curves: Mapping[str, pd.DataFrame]

    @classmethod
    def of(
        cls,
        fit: ReactivationFit,
        lapsed: Snapshots,
        decay: DecayFit,
        users: Sequence[Any],
        *,
        options: DrawOptions,
    ) -> Reasons:
        """Find out what the P of lapsed users rests on, and explain that of some users."""
        rng = np.random.default_rng(options.random_seed)
        rows = np.sort(rng.choice(len(lapsed), min(len(lapsed), _USERS), replace=False))
        some = lapsed.of_users(lapsed.table[names.USER].iloc[rows])
        crossed = replace(options, draws=min(options.draws, _CROSSED))
        shares = variance_shares(fit, some, decay, options=crossed)
        effects = average_marginal_effects(fit, some, decay, options=options)
        most = _most(effects) if len(users) else []
        return cls(
            shares={source: _of_all(shares, source) for source in SOURCES},
            widening=interval_widening(fit, some, decay, options=options),
            effects=effects,
            missing=fit.missing_table(),
            explanation=explain(fit, lapsed, decay, users, options=options) if len(users) else None,
            curves={name: partial_dependence(fit, some, decay, name, options=options) for name in most},
        )

    @property
    def times_wider(self) -> tuple[float, float, float]:
        """How many times wider honest intervals are: median, and the middle half of the users."""
        at = self.widening.set_index("quantile")["times_wider"]
        return float(at[0.5]), float(at[0.25]), float(at[0.75])


def _of_all(shares: pd.DataFrame, source: str) -> float:
    """Share of a source in the variance of all users together."""
    return float((shares[share_of(source)] * shares[VARIANCE]).sum() / shares[VARIANCE].sum())


def _most(effects: pd.DataFrame) -> list[str]:
    """The two features that P changes most with, over a step that users differ by."""
    usual = effects[effects["step"] != ONE_UNIT]
    size = usual[CHANGE].abs().groupby(usual["feature"]).max()
    return [str(name) for name in size.sort_values(ascending=False).index[:2]]
