r"""The kinds of activities: how often an activity is a purchase, for the population and for how unlike its users are.

In: :class:`~bayesdecay.data.kinds.KindCounts`. Out: a :class:`~bayesdecay.model.kind_fit.KindFit`, from which every
user's own shares follow in closed form.

.. math::

    \text{kind of an activity} \mid \pi_u \sim \mathrm{Categorical}(\pi_u), \qquad
    \pi_u \sim \mathrm{Dirichlet}(c\,m_g), \qquad
    m = \operatorname{softmax}(\eta),\quad \eta_k \sim \mathrm{Normal}, \qquad
    m_g = \operatorname{softmax}(\eta + \tau z_g),\quad z_{gk} \sim \mathrm{Normal}(0, 1),

with counts y of a user's kinds :math:`\pi_u \mid y \sim \mathrm{Dirichlet}(c\,m + y)`. Of users' kinds in the order
they came the marginal likelihood is :math:`\prod_k (c m_k)^{\overline{y_k}} / c^{\overline{n}}`, with rising factorials
:math:`x^{\overline{y}} = x (x+1) \cdots (x+y-1)`. Summed over users its logarithm is

.. math:: \sum_k \sum_{i \ge 0} \#\{u: y_{uk} > i\} \log(c m_k + i) - \sum_{i \ge 0} \#\{u: n_u > i\} \log(c + i),

so that a million users are as many numbers as the busiest one has activities, and nothing cancels where c is large.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from bayesdecay.data.kinds import KindCounts
from bayesdecay.errors import DataError
from bayesdecay.model.density import Density
from bayesdecay.model.kind_fit import KindFit
from bayesdecay.model.posterior import Verdict, labelled
from bayesdecay.model.prior import Prior, priors_table, with_changes
from bayesdecay.model.sampling import FEW_PARAMETERS, Sampling, draw_posterior
from bayesdecay.model.variables import OFFSET, pooled, variable
from bayesdecay.model.whitening import Whitening
from bayesdecay.names import GROUP, KIND

__all__ = ["KIND_PRIORS", "KindModel", "KindTails"]

Integers = NDArray[np.int64]

# Of 25 fits of 500 draws two were refused by R-hat for no fault of theirs, of 1,000 none; a draw takes a millisecond.
_DRAWS = 1_000

KIND_PRIORS: Mapping[str, Prior] = {
    "log_share": Prior(
        distribution="Normal",
        parameters={"mu": 0.0, "sigma": 2.0},
        reason="either of two kinds may be the more frequent, by a factor of up to 100 (90 %); none is favoured",
    ),
    "concentration": Prior(
        distribution="LogNormal",
        parameters={"mu": math.log(5.0), "sigma": 1.5},
        reason="a user's own activities tell as much of its kinds as all users do after about 5 of them, 90 % between "
        "the first one and 60",
    ),
    "tau_share": Prior(
        distribution="LogNormal",
        parameters={"mu": math.log(0.25), "sigma": 0.7},
        reason="the odds of two kinds differ between groups by a third or so, 90 % between 12 % and a factor of three",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KindTails:
    """What the likelihood needs of all users' counts: how many users have more than i activities of a kind.

    ``users`` (entry,) have more than ``order`` (entry,) activities of the ``kind`` (entry,) in the ``group`` (entry,),
    by their places; ``total`` (i,) users have more than i activities at all. Entries of no user are left out.
    """

    group: Integers
    kind: Integers
    order: Integers
    users: Integers
    total: Integers

    @classmethod
    def of(cls, counts: Integers, group: Integers) -> KindTails:
        """Gather them from the counts (user, kind) of users in some groups (user,)."""
        entries = []
        for g in range(int(group.max(initial=0)) + 1):
            for k, own in enumerate(counts[group == g].T):
                tail = _above(own)
                entries.append(np.column_stack([np.full((tail.size, 2), (g, k)), np.arange(tail.size), tail]))
        columns = np.concatenate(entries).astype(np.int64).T
        return cls(
            **dict(zip(("group", "kind", "order", "users"), columns, strict=True)), total=_above(counts.sum(axis=1))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KindModel:
    """Description of a model of the kinds of activities; nothing is fitted until :meth:`fit`.

    Parameters
    ----------
    priors : mapping of str to Prior
        Priors that replace the defaults, see :meth:`priors_table`.

    Raises
    ------
    ValueError
        If a prior's name is unknown, or it allows values that the parameter cannot take.

    Examples
    --------
    >>> KindModel().priors_table()["parameter"].to_list()
    ['log_share', 'concentration', 'tau_share']
    """

    priors: Mapping[str, Prior] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.priors_in_force()

    def priors_in_force(self) -> dict[str, Prior]:
        """Priors by name, the user's own among them."""
        return with_changes(KIND_PRIORS, self.priors)

    def priors_table(self) -> pd.DataFrame:
        """Tidy table of the priors in force, each with its reason."""
        return priors_table(self.priors_in_force())

    def build(self, tails: KindTails, kinds: tuple[str, ...], groups: tuple[str, ...] = ()) -> pm.Model:
        """Build the PyMC model of the population; samples nothing."""
        priors = self.priors_in_force()
        with pm.Model(coords={KIND: kinds} | ({GROUP: groups} if groups else {})) as model:
            # Only differences of these tell anything, so nobody is shown them.
            level = variable(priors, "log_share", called=f"log_share{OFFSET}", dims=KIND)
            share: Any = pm.Deterministic("share", pt.special.softmax(level, axis=-1), dims=KIND)[None, :]
            concentration = variable(priors, "concentration")
            if groups:
                spread = variable(priors, "tau_share")
                own = pooled(f"group_level{OFFSET}", level, spread, dims=(GROUP, KIND))
                share = pm.Deterministic("group_share", pt.special.softmax(own, axis=-1), dims=(GROUP, KIND))
            chosen = pt.sum(tails.users * pt.log(concentration * share[tails.group, tails.kind] + tails.order))
            active = pt.sum(tails.total * pt.log(concentration + np.arange(tails.total.size)))
            pm.Potential("loglik", chosen - active)
        return model

    def fit(self, counts: KindCounts, *, sampling: Sampling | None = None, random_seed: int | None = None) -> KindFit:
        """Draw the posterior of the population's shares by NUTS.

        Parameters
        ----------
        counts : KindCounts
            What :func:`~bayesdecay.data.kinds.count_kinds` gives; the group of its history, if any, is the model's.
        sampling : Sampling, optional
            Draws, warm-up, chains, cores; 4 chains of 1,000 draws unless told.
        random_seed : int, optional
            The same seed gives the same fit on the same machine.

        Raises
        ------
        DataError
            If nobody has an activity that counts.
        """
        if not counts.counts.any():
            raise DataError(
                "kinds: no user has an activity that counts"
                + ("" if counts.acquisition else ", acquisitions aside; count these too: count_kinds(acquisition=True)")
            )
        groups, place = _groups(counts)
        model = self.build(KindTails.of(counts.counts, place), counts.kinds, groups)
        density = Density.of(model)
        sampling = sampling or Sampling()
        tree = draw_posterior(
            model,
            replace(sampling, draws=sampling.draws or _DRAWS),
            density=density if density.start.size <= FEW_PARAMETERS else None,
            whitening=Whitening.of(density),
            random_seed=random_seed,
        )
        return KindFit(
            idata=labelled(tree, kind=KindFit.KIND, model=_description(self, counts), verdict=Verdict.of(tree))
        )


def _above(counts: Integers) -> Integers:
    """Users with more than i of something, i = 0, 1, ... as long as there are any."""
    having = np.bincount(counts)
    return np.asarray(having[::-1].cumsum()[::-1][1:], dtype=np.int64)


def _groups(counts: KindCounts) -> tuple[tuple[str, ...], Integers]:
    """Names of the groups, none without groups, and each user's place among them (user,)."""
    if counts.history.group is None:
        return (), np.zeros(len(counts), dtype=np.int64)
    names, place = np.unique(counts.history.table[GROUP].to_numpy().astype(str), return_inverse=True)
    return tuple(map(str, names)), place.astype(np.int64)


def _description(model: KindModel, counts: KindCounts) -> dict[str, Any]:
    """Return the model and the data's terms in plain words, as kept in the fit's attributes."""
    history = counts.history
    return {
        "priors": {name: asdict(prior) for name, prior in model.priors_in_force().items()},
        "kinds": counts.kinds,
        "acquisition": counts.acquisition,
        "activity": history.activity,
        "at": str(history.at),
        "users": len(history),
        "activities": int(counts.counts.sum()),
        "group": history.group,
    }
