r"""The effect model: what a treatment does to whom, learned from an experiment.

In: an :class:`~bayesdecay.data.experiment.Experiment`, and a decay fit where interest is an input. Out: an
:class:`~bayesdecay.model.effect_fit.EffectFit` that gives every user the outcome under each arm, draw by draw.

.. math::

    \operatorname{logit} P(y > 0) = a + \sum_g a_g + x \cdot b + b_I \ell + \sum_k d_k\,(\tau_{0k} + x \cdot \tau_k),
    \qquad \tau_k \sim \mathrm{Normal}(\gamma_k b, \omega_k), \quad \omega_k \sim \mathrm{HalfNormal},

for arms k beside the control; the spread :math:`\omega_k` is learned, so the data decide how far effects differ. By
:math:`\gamma_k` they may differ with the response itself: at 0 the effect on the log-odds is the same for those who
would come anyway, below 0 it is weaker. An outcome that is not yes or no has a second part, the amount where there is
one (:mod:`bayesdecay.model.amount`).

References
----------
Künzel, S. R. et al. (2019). Metalearners for estimating heterogeneous treatment effects using machine learning.
*PNAS* 116(10), 4156-4165. https://doi.org/10.1073/pnas.1804597116 (one model for all arms: the S-learner).
Kent, D. M. et al. (2020). The Predictive Approaches to Treatment effect Heterogeneity (PATH) statement. *Ann. Intern.
Med.* 172(1), 35-45. https://doi.org/10.7326/M18-3667 (effects that differ with the risk itself).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from numpy.typing import NDArray

from bayesdecay import names
from bayesdecay.data.experiment import Experiment
from bayesdecay.errors import DataError, unknown_name
from bayesdecay.model import logit_graph
from bayesdecay.model.amount import add_amount
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.density import Density
from bayesdecay.model.effect_fit import EffectFit
from bayesdecay.model.expression import columns_of, read_terms
from bayesdecay.model.formula import Formula
from bayesdecay.model.latent_interest import KnownInterest
from bayesdecay.model.logit_graph import Outcome
from bayesdecay.model.matrices import Design
from bayesdecay.model.missing import TREATMENTS
from bayesdecay.model.posterior import Verdict, labelled
from bayesdecay.model.prior import EFFECT_PRIORS, Prior, priors_table, with_changes
from bayesdecay.model.sampling import FEW_PARAMETERS, Sampling, draw_posterior
from bayesdecay.model.terms import Terms
from bayesdecay.model.treated import Treatment
from bayesdecay.model.treated_users import interest_of
from bayesdecay.model.variables import OFFSET, SHARED_INTEREST, spread_or_less, variable
from bayesdecay.model.whitening import Whitening

__all__ = ["EffectModel"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectModel:
    """Description of an effect model; nothing is fitted until :meth:`fit`.

    Parameters
    ----------
    formula : str
        Such as ``"visit ~ log1p(history) + recency + channel"``: an outcome of the experiment, and the features that
        tell users apart before the contact, as in :class:`~bayesdecay.model.reactivation.ReactivationModel`. Each
        feature with a slope has an effect of its own, too. ``interest`` is the latent interest, for an experiment made
        from snapshots.
    missing : {"model", "mean", "median", "indicator", "refuse"}
        What is done where a feature is missing.
    priors : mapping of str to Prior
        Priors that replace the defaults, see :meth:`priors_table`.

    Raises
    ------
    ValueError
        If the formula cannot be read or a name is unknown.
    """

    formula: str
    missing: str = "model"
    priors: Mapping[str, Prior] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.missing not in TREATMENTS:
            raise unknown_name("way with missing features", self.missing, TREATMENTS)
        with_changes(EFFECT_PRIORS, self.priors)
        self.parsed()

    @property
    def outcome(self) -> str:
        """Name of the outcome, the left side of the formula."""
        return self.formula.partition("~")[0].strip()

    def parsed(self) -> Formula:
        """Return the formula in its parts."""
        return Formula.parse(self.formula, outcome=self.outcome)

    def priors_table(self) -> pd.DataFrame:
        """Tidy table of the priors in force, each with its reason."""
        return priors_table(with_changes(EFFECT_PRIORS, self.priors))

    def build(self, terms: Terms, design: Design, treatment: Treatment, given: Integers, value: Floats) -> pm.Model:
        """Build the PyMC model of rows that were ``given`` an arm and had the outcome ``value``; samples nothing."""
        priors = with_changes(EFFECT_PRIORS, self.priors)
        labels = {"arm": treatment.arms} | ({"moderator": treatment.moderators} if treatment.moderators else {})
        wide, happened, weight = treatment.design(terms, design, given).merged(value > 0)
        outcome, plain = Outcome(returned=happened, weight=weight), np.zeros(len(terms.slopes), dtype=bool)
        with pm.Model(coords=logit_graph.coords(terms) | labels) as model:
            found = logit_graph.linear(
                terms, wide, priors, outcome, plain, beyond=lambda *slopes: _effects(priors, terms, *slopes)
            )
            logit_graph.add_loglik(found, terms, wide, outcome)
            if not _yes_or_no(value):
                some = value > 0
                treated = (given[some, None] == np.arange(1, len(treatment.arms) + 1)).astype(float)
                add_amount(treatment.moderating(terms, design)[some], treated, value[some] / value[some].mean(), priors)
        return model

    def fit(
        self,
        experiment: Experiment,
        decay: DecayFit | None = None,
        *,
        sampling: Sampling | None = None,
        random_seed: int | None = None,
    ) -> EffectFit:
        """Draw the posterior of the coefficients and effects by NUTS.

        Parameters
        ----------
        experiment : Experiment
            Who was given which arm, and what came of it.
        decay : DecayFit, optional
            Gives each user's interest; needed where ``interest`` is in the formula.
        sampling : Sampling, optional
            Draws, warm-up, chains, cores; 4 chains of 1,000 draws unless told.
        random_seed : int, optional
            The same seed gives the same fit on the same machine.

        Raises
        ------
        DataError
            If the outcome is negative somewhere, or the same for all; or a feature is constant, unknown, or missing and
            to be refused.
        ValueError
            If the outcome is unknown, or the outcome or the arm is used as a feature.
        """
        formula = self.parsed()
        value = self._checked(experiment, formula)
        latent = KnownInterest.certain(np.zeros((len(experiment), 1)))
        if formula.interest:
            latent = interest_of(experiment, decay).known()
        known = experiment.table.drop(columns=[names.ARM, *experiment.outcomes])
        terms = Terms.learn(formula, known, latent.level, chance=latent.chance, missing=self.missing)
        treatment = Treatment.of(terms, arms=experiment.arms)
        design = terms.design(known, latent.level, chance=latent.chance, moves=latent.moves)
        model = self.build(terms, design, treatment, experiment.given, value)
        density = Density.of(model)
        tree = draw_posterior(
            model,
            sampling or Sampling(),
            density=density if density.start.size <= FEW_PARAMETERS else None,
            whitening=Whitening.of(density, bent_by="slope_interest" if formula.interest else None),
            random_seed=random_seed,
        )
        if latent.shared is not None:
            tree[SHARED_INTEREST] = xr.DataTree(latent.shared.to_dataset())
        tree["posterior"]["slope_interest"].attrs["fixed"] = int(not formula.interest)
        description = {
            "terms": terms.to_dict(),
            "treatment": treatment.to_dict(),
            "outcome": self.outcome,
            "unit": 1.0 if _yes_or_no(value) else float(value[value > 0].mean()),
            "yes_or_no": _yes_or_no(value),
            "randomised": experiment.randomised,
            "priors": {name: asdict(prior) for name, prior in with_changes(EFFECT_PRIORS, self.priors).items()},
            "rows": int(value.size),
        }
        return EffectFit(idata=labelled(tree, kind=EffectFit.KIND, model=description, verdict=Verdict.of(tree)))

    def _checked(self, experiment: Experiment, formula: Formula) -> Floats:
        """Outcomes (row,) as numbers, checked, and the formula checked against the experiment's columns."""
        parts = (formula.fixed, *(bracket.terms for bracket in formula.brackets))
        used = set().union(*(columns_of(read_terms(terms)) for terms in parts))
        for name in sorted(used & {names.ARM, *experiment.outcomes}):
            raise ValueError(f"formula: {name!r} is the arm or an outcome, known after the contact only; leave it out")
        value = experiment.outcome(self.outcome)
        if (value < 0).any():
            raise DataError(
                f"experiment: outcome {self.outcome!r} is below 0 in {int((value < 0).sum())} rows; an outcome is yes "
                "or no, or an amount of 0 or more"
            )
        if not (value > 0).any() or (value > 0).all():
            raise DataError(
                f"experiment: outcome {self.outcome!r} is {'0' if not (value > 0).any() else 'above 0'} in all "
                f"{value.size} rows; to learn what makes it happen, it must have happened to some and not to others"
            )
        return value


def _effects(priors: Mapping[str, Prior], terms: Terms, slope: Any, of_interest: Any) -> Any:
    """Effects, raveled from (arm, 1 + moderator): on an average user, and what a step of each moderator adds."""
    effect = variable(priors, "effect", dims="arm")
    if not terms.slopes and not terms.formula.interest:
        return effect
    along = pt.concatenate([slope, of_interest[None]]) if terms.formula.interest else slope
    spread = spread_or_less(priors, "tau_effect", dims="arm")
    offset = pm.Normal(f"effect_slope{OFFSET}", dims=("arm", "moderator"))
    by_response = variable(priors, "effect_by_response", dims="arm")
    varying = by_response[:, None] * along + spread[:, None] * offset
    varying = pm.Deterministic("effect_slope", varying, dims=("arm", "moderator"))
    return pt.concatenate([effect[:, None], varying], axis=1).ravel()


def _yes_or_no(value: Floats) -> bool:
    return bool(np.isin(value, (0.0, 1.0)).all())
