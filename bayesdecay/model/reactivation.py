r"""The reactivation model: who of the lapsed users returns within the horizon, interest being an uncertain input.

In: :class:`~bayesdecay.data.snapshots.Snapshots` and a :class:`~bayesdecay.model.decay_fit.DecayFit`. Out: a
:class:`~bayesdecay.model.returning.ReactivationFit` that gives every lapsed user a probability with its interval.

.. math::

    \operatorname{logit} p = a + \sum_g (a_g + z \cdot b_g) + x \cdot b + b_I \ell, \qquad
    p(y \mid u, \eta) = \sum_j c_j\, \mathrm{Bernoulli}\big(y;\, p(\ell_j + m_j \cdot \eta)\big),

with x the features, standardised; :math:`a_g, b_g` partially pooled over groups; and :math:`\ell_j` the means of
slices, of probabilities :math:`c_j`, of the user's own posterior of log interest at the cutoff, standardised too. The
population is not known exactly, so the interests of all users may be off together, by a few numbers :math:`\eta` that
are learned with the coefficients (:mod:`bayesdecay.model.shared_interest`). With ``interest="plugin"`` there is one
:math:`\ell`, the logarithm of the mean interest, as if it were known; with ``"joint"`` the interests of all users are
variables, sampled together with the coefficients (:mod:`bayesdecay.model.joint`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from bayesdecay import names
from bayesdecay.data.history import History
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.errors import DataError, unknown_name
from bayesdecay.model import logit_graph
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.density import Density
from bayesdecay.model.formula import Formula
from bayesdecay.model.horseshoe import MANY
from bayesdecay.model.joint import build_joint
from bayesdecay.model.latent_interest import KnownInterest
from bayesdecay.model.logit_graph import Outcome
from bayesdecay.model.matrices import Design
from bayesdecay.model.missing import TREATMENTS
from bayesdecay.model.posterior import Verdict, labelled
from bayesdecay.model.prior import REACTIVATION_PRIORS, Prior, priors_table, with_changes
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.model.sampling import FEW_PARAMETERS, Sampling, draw_posterior
from bayesdecay.model.small_groups import SMALL_GROUPS, small_groups
from bayesdecay.model.terms import Terms
from bayesdecay.model.variables import SHARED_INTEREST
from bayesdecay.model.whitening import Whitening

__all__ = ["CURVED_FORMULA", "DEFAULT_FORMULA", "ReactivationModel"]

Floats = NDArray[np.float64]

# Trailing windows are left out: those within lapsed_after are zero for every lapsed user.
DEFAULT_FORMULA = "returned ~ interest + log1p(recency) + log1p(frequency) + log1p(tenure)"
# For all users, lapsed or not, and where forecasts count more than a short explanation: on three logs it is as good as
# gradient boosting or better (reports/benchmarks.md). It needs the default features of snapshots.
CURVED_FORMULA = (
    "returned ~ interest + log1p(recency) * log1p(frequency) + log1p(tenure) + log1p(active_7d) + log1p(active_30d) + "
    "log1p(active_90d) + {log1p(recency)**2} + {log1p(frequency)**2} + log1p(active_30d):log1p(frequency) + "
    "log1p(active_90d):log1p(recency)"
)
INTERESTS = ("uncertain", "plugin", "joint")
SHRINKAGES = ("normal", "horseshoe")
# Two variables a user.
_JOINT_SAMPLING = Sampling(draws=1_000, tune=1_000)
# Posterior draws that expected interest is averaged over.
_DRAWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactivationModel:
    """Description of a reactivation model; nothing is fitted until :meth:`fit`.

    Parameters
    ----------
    formula : str, optional
        Such as ``"returned ~ interest + log1p(recency) + frequency * channel + (1 + recency | segment) + (1 | user)"``:
        columns of the snapshots, ``interest`` for the latent interest, and in brackets the terms that are partially
        pooled over a group. ``(1 | user)`` lets users with several snapshots differ.
    features : sequence of str, optional
        Instead of a formula: columns that enter as they are, ``"interest"`` among them or not.
    group : str, optional
        With ``features``: column of the groups over which the intercept is partially pooled.
    embedding : str, optional
        Pattern of columns, such as ``"emb_*"``, that enter by their principal components.
    interest : {"uncertain", "plugin", "joint"}
        Whether a user's interest enters with all its uncertainty, as its mean, or as a variable sampled together with
        the coefficients (for at most 5,000 users at one cutoff).
    missing : {"model", "mean", "median", "indicator", "refuse"}
        What is done where a feature is missing: averaged over what it may be, given the other features; replaced by
        the mean or median; replaced by the mean and marked by a feature of its own; or refused.
    shrinkage : {"normal", "horseshoe"}, optional
        Prior of the slopes: each for itself, or most of them next to nothing and a few not. Unless told, the latter for
        more than 30 columns: for those that were brought if they are so many, else for all. What is computed from the
        log keeps a prior of its own beside columns that were brought, since it is known to matter.
    priors : mapping of str to Prior
        Priors that replace the defaults, see :meth:`priors_table`.

    Raises
    ------
    ValueError
        If the formula cannot be read, both a formula and features are given, or a name is unknown.
    """

    formula: str | None = None
    features: Sequence[str] | None = None
    group: str | None = None
    embedding: str | None = None
    interest: str = "uncertain"
    missing: str = "model"
    shrinkage: str | None = None
    priors: Mapping[str, Prior] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.formula is not None and (self.features is not None or self.group is not None):
            raise ValueError("give either a formula or a list of features (with a group), not both")
        for name in (name for name in self.features or () if "*" in name):
            raise ValueError(f"features: {name!r} is a pattern; the columns of an embedding go in embedding={name!r}")
        if self.features is None and self.group is not None:
            raise ValueError("group goes with features; in a formula write (1 | segment)")
        for what, given, known in (
            ("way to enter interest", self.interest, INTERESTS),
            ("way with missing features", self.missing, TREATMENTS),
            ("shrinkage", self.shrinkage, (None, *SHRINKAGES)),
        ):
            if given not in known:
                raise unknown_name(what, given, [name for name in known if name is not None])
        with_changes(REACTIVATION_PRIORS, self.priors)
        self.parsed()

    def parsed(self) -> Formula:
        """Return the formula in its parts."""
        if self.features is not None:
            return Formula.of_features(self.features, group=self.group)
        return Formula.parse(self.formula or DEFAULT_FORMULA)

    def priors_table(self) -> pd.DataFrame:
        """Tidy table of the priors in force, each with its reason; a horseshoe takes the place of ``slope``."""
        return priors_table(with_changes(REACTIVATION_PRIORS, self.priors))

    def sparse(self, terms: Terms) -> NDArray[np.bool_]:
        """Which of the slopes (slope,) have the horseshoe prior."""
        brought = terms.brought
        least = 1 if self.shrinkage == "horseshoe" else MANY + 1
        if self.shrinkage == "normal" or brought.size < least:
            return np.zeros_like(brought)
        return brought if brought.sum() >= least else np.ones_like(brought)

    def build(self, terms: Terms, design: Design, outcome: Outcome) -> pm.Model:
        """Build the PyMC model of rows that count ``outcome.weight`` times; samples nothing."""
        priors = with_changes(REACTIVATION_PRIORS, self.priors)
        with pm.Model(coords=logit_graph.coords(terms)) as model:
            found = logit_graph.linear(terms, design, priors, outcome, self.sparse(terms))
            logit_graph.add_loglik(found, terms, design, outcome)
        return model

    def fit(
        self,
        snapshots: Snapshots,
        decay: DecayFit,
        *,
        history: History | None = None,
        sampling: Sampling | None = None,
        random_seed: int | None = None,
        allow_unconverged: bool = False,
    ) -> ReactivationFit:
        """Draw the posterior of the coefficients by NUTS.

        Parameters
        ----------
        snapshots : Snapshots
            With outcomes that are wholly observed.
        decay : DecayFit
            Gives each snapshot's interest, from the user's history up to the cutoff and the population's posterior.
        history : History, optional
            For ``interest="joint"`` alone: all users at the snapshots' cutoff, lapsed or not.
        sampling : Sampling, optional
            Draws, warm-up, chains, cores; 4 chains of 750 draws, 500 if interest is known, 1,000 with groups or a
            horseshoe, unless told.
        random_seed : int, optional
            The same seed gives the same fit on the same machine.

        Raises
        ------
        LeakageError
            If an outcome reaches beyond what is observed.
        DataError
            If nobody or everybody returned, or a feature is constant, unknown, or missing and to be refused.
        NotConvergedError
            If the decay fit did not converge and ``allow_unconverged`` is not set.

        Notes
        -----
        A user's interest at a cutoff uses that user's past only. The population's parameters are those of ``decay``;
        to keep even these from seeing the outcomes, fit it at the earliest cutoff.
        """
        table = snapshots.training().table
        returned = _checked_outcomes(table)
        known = self._interest(snapshots, decay, allow_unconverged=allow_unconverged)
        terms = Terms.learn(
            self.parsed(),
            table,
            known.level,
            chance=known.chance,
            missing=self.missing,
            embedding=self.embedding,
            computed=snapshots.features,
        )
        design = terms.design(table, known.level, chance=known.chance, moves=known.moves)
        if self.interest == "joint":
            model = build_joint(self, terms, design, snapshots, decay, history)
            tree = draw_posterior(model, sampling or _JOINT_SAMPLING, random_seed=random_seed)
            tree = _of_population(tree)
        else:
            merged, came, weight = design.merged(returned)
            outcome = Outcome(returned=came, weight=weight)
            model = self.build(terms, merged, outcome)
            density = Density.of(model)
            tree = draw_posterior(
                model,
                sampling or Sampling(),
                density=density if density.start.size <= FEW_PARAMETERS else None,
                whitening=Whitening.of(density, bent_by="slope_interest"),
                random_seed=random_seed,
            )
            if terms.averaged is not None:
                tree[SMALL_GROUPS] = xr.DataTree(small_groups(tree["posterior"].to_dataset(), terms, merged, outcome))
            if known.shared is not None:
                tree[SHARED_INTEREST] = xr.DataTree(known.shared.to_dataset())
        tree["posterior"]["slope_interest"].attrs["fixed"] = int(not terms.formula.interest)
        description = self._description(terms, snapshots, returned)
        verdict = Verdict.of(tree)
        return ReactivationFit(idata=labelled(tree, kind=ReactivationFit.KIND, model=description, verdict=verdict))

    def _interest(self, snapshots: Snapshots, decay: DecayFit, *, allow_unconverged: bool) -> KnownInterest:
        """Take the interest of each snapshot as this model wants it."""
        if self.interest == "plugin":
            return KnownInterest.expected(decay.population(_DRAWS, allow_unconverged=allow_unconverged), snapshots)
        found = KnownInterest.of(decay.population(allow_unconverged=allow_unconverged), snapshots)
        together = self.interest == "uncertain" and self.parsed().interest
        return found if together else found.alone()

    def _description(self, terms: Terms, snapshots: Snapshots, returned: NDArray[np.bool_]) -> dict[str, Any]:
        """Return the model and the data's terms in plain words, as kept in the fit's attributes."""
        return {
            "terms": terms.to_dict(),
            "interest": self.interest,
            "shrinkage": "horseshoe" if self.sparse(terms).any() else "normal",
            "missing_rows": terms.missing_rows(snapshots.table),
            "priors": {name: asdict(prior) for name, prior in with_changes(REACTIVATION_PRIORS, self.priors).items()},
            "horizon": snapshots.horizon,
            "lapsed_after": snapshots.lapsed_after,
            "cutoffs": [str(at) for at in snapshots.histories],
            "rows": int(returned.size),
            "returned": int(returned.sum()),
        }


def _checked_outcomes(table: pd.DataFrame) -> NDArray[np.bool_]:
    returned = table[names.RETURNED].to_numpy(dtype=bool)
    if returned.size == 0 or returned.all() or not returned.any():
        raise DataError(
            f"snapshots: {int(returned.sum())} of {returned.size} users returned; to learn who returns, some must "
            "have and some not: choose other cutoffs, a longer horizon or a shorter lapsed_after"
        )
    return np.asarray(returned)


def _of_population(tree: xr.DataTree) -> xr.DataTree:
    """Drop the variables of single users from a joint fit."""
    posterior = tree["posterior"].to_dataset()
    tree["posterior"] = xr.DataTree(posterior.drop_dims([names.USER], errors="ignore"))
    return tree
