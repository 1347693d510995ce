r"""The reactivation model: who of the lapsed users returns within the horizon, interest being an uncertain input.

In: :class:`~bayesdecay.data.snapshots.Snapshots` and a :class:`~bayesdecay.model.decay.DecayFit`. Out: a
:class:`ReactivationFit` that gives every lapsed user a probability with its interval.

.. math::

    \operatorname{logit} p = a_g + x \cdot b_g + b_I \ell, \qquad
    p(y \mid u) = \frac1J \sum_{j=1}^J \mathrm{Bernoulli}\big(y;\, p(\ell_j)\big),

with x the features, standardised; :math:`a_g, b_g` partially pooled over groups; and :math:`\ell_1..\ell_J` the means
of equally probable slices of the user's own posterior of log interest at the cutoff, standardised too. With
``interest="plugin"`` J is 1 and :math:`\ell` the logarithm of the mean interest, as if it were known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from numpy.typing import NDArray
from scipy.special import expit

from bayesdecay import names, units
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.errors import DataError, unknown_name
from bayesdecay.model.decay import DecayFit
from bayesdecay.model.formula import Design, Formula, Terms
from bayesdecay.model.fused import FusedLogLikelihood
from bayesdecay.model.latent_interest import log_interest_draws, log_mean, shared_log_interest, slices
from bayesdecay.model.posterior import Verdict, labelled, summary_table, thinned, verdict_of, write_tree
from bayesdecay.model.prior import REACTIVATION_PRIORS, Prior, priors_table, with_changes
from bayesdecay.model.sampling import Sampling, draw_posterior
from bayesdecay.model.scores import Scores
from bayesdecay.model.variables import pooled, variable
from bayesdecay.model.whitening import Whitening

__all__ = ["ReactivationFit", "ReactivationModel", "score_reactivation"]

Floats = NDArray[np.float64]

# Trailing windows are left out: those within lapsed_after are zero for every lapsed user.
DEFAULT_FORMULA = "returned ~ interest + log1p(recency) + log1p(frequency) + log1p(tenure)"
# More draws than the decay model takes: each is cheap, and the coefficients of interest and recency go together.
_SAMPLING = Sampling(draws=1_000, tune=300)
# Posterior draws that the slices are made of.
_DRAWS = 200
_LOGLIK = FusedLogLikelihood("mixed_logistic_loglik", n_parameters=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactivationModel:
    """Description of a reactivation model; nothing is fitted until :meth:`fit`.

    Parameters
    ----------
    formula : str, optional
        Such as ``"returned ~ interest + log1p(recency) + (1 | segment)"``: columns of the snapshots, ``interest`` for
        the latent interest, and in brackets the terms that are partially pooled over a group.
    features : sequence of str, optional
        Instead of a formula: columns that enter as they are, ``"interest"`` among them or not.
    group : str, optional
        With ``features``: column of the groups over which the intercept is partially pooled.
    interest : {"uncertain", "plugin"}
        Whether a user's interest enters with all its uncertainty or as its mean.
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
    interest: str = "uncertain"
    priors: Mapping[str, Prior] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.formula is not None and (self.features is not None or self.group is not None):
            raise ValueError("give either a formula or a list of features (with a group), not both")
        if self.features is None and self.group is not None:
            raise ValueError("group goes with features; in a formula write (1 | segment)")
        if self.interest not in ("uncertain", "plugin"):
            raise unknown_name("way to enter interest", self.interest, ("uncertain", "plugin"))
        with_changes(REACTIVATION_PRIORS, self.priors)
        self.parsed()

    def parsed(self) -> Formula:
        """Return the formula in its parts."""
        if self.features is not None:
            return Formula.of_features(self.features, group=self.group)
        return Formula.parse(self.formula or DEFAULT_FORMULA)

    def priors_table(self) -> pd.DataFrame:
        """Tidy table of the priors in force, each with its reason."""
        return priors_table(with_changes(REACTIVATION_PRIORS, self.priors))

    def build(self, terms: Terms, design: Design, returned: NDArray[np.bool_], weight: Floats) -> pm.Model:
        """Build the PyMC model of rows that count ``weight`` times; samples nothing."""
        priors = with_changes(REACTIVATION_PRIORS, self.priors)
        coords = {"feature": terms.fixed.labels, "group": terms.groups, "pooled_feature": terms.pooled.labels}
        with pm.Model(coords={name: values for name, values in coords.items() if values}) as model:
            logit: Any = variable(priors, "intercept") + pt.zeros(returned.size)
            if terms.fixed.labels:
                logit = logit + pt.dot(pm.Data("x", design.x), variable(priors, "slope", dims="feature"))
            if terms.groups:
                group = pm.Data("group_of_row", design.group)
                logit = logit + pooled("group_intercept", 0.0, variable(priors, "tau_intercept"))[group]
            if terms.pooled.labels:
                spread = variable(priors, "tau_slope", dims="pooled_feature")
                slopes = pooled("group_slope", 0.0, spread, dims=("group", "pooled_feature"))
                logit = logit + pt.sum(pm.Data("z", design.z) * slopes[group], axis=1)
            of_interest = variable(priors, "slope_interest", fixed=None if terms.formula.interest else 0.0)
            sign = np.where(returned, 1.0, -1.0)
            data = (pm.Data("level", design.level), pm.Data("sign", sign), pm.Data("weight", weight))
            pm.Potential("loglik", _LOGLIK.value(logit, of_interest, *data))
        return model

    def fit(
        self,
        snapshots: Snapshots,
        decay: DecayFit,
        *,
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
        sampling : Sampling, optional
            Draws, warm-up, chains, cores; 4 chains of 1,000 draws after 300 warm-up draws unless told.
        random_seed : int, optional
            The same seed gives the same fit on the same machine.

        Raises
        ------
        LeakageError
            If an outcome reaches beyond what is observed.
        DataError
            If nobody or everybody returned, or a feature is missing or constant.
        NotConvergedError
            If the decay fit did not converge and ``allow_unconverged`` is not set.

        Notes
        -----
        A user's interest at a cutoff uses that user's past only. The population's parameters are those of ``decay``;
        to keep even these from seeing the outcomes, fit it at the earliest cutoff.
        """
        table = snapshots.training().table
        returned = table[names.RETURNED].to_numpy(dtype=bool)
        if returned.size == 0 or returned.all() or not returned.any():
            raise DataError(
                f"snapshots: {int(returned.sum())} of {returned.size} users returned; to learn who returns, some must "
                "have and some not: choose other cutoffs, a longer horizon or a shorter lapsed_after"
            )
        population = decay.population(_DRAWS, allow_unconverged=allow_unconverged)
        drawn = shared_log_interest(population, snapshots, random_seed)
        log_interest = log_mean(drawn) if self.interest == "plugin" else slices(drawn)
        terms = Terms.learn(self.parsed(), table, log_interest)
        model = self.build(terms, *terms.design(table, log_interest).merged(returned))
        tree = draw_posterior(model, sampling or _SAMPLING, whitening=Whitening.of(model), random_seed=random_seed)
        tree["posterior"]["slope_interest"].attrs["fixed"] = int(not terms.formula.interest)
        description = {
            "terms": terms.to_dict(),
            "interest": self.interest,
            "priors": {name: asdict(prior) for name, prior in with_changes(REACTIVATION_PRIORS, self.priors).items()},
            "horizon": snapshots.horizon,
            "lapsed_after": snapshots.lapsed_after,
            "cutoffs": [str(at) for at in snapshots.histories],
            "rows": int(returned.size),
            "returned": int(returned.sum()),
        }
        verdict = Verdict.of(tree)
        return ReactivationFit(idata=labelled(tree, kind=ReactivationFit.KIND, model=description, verdict=verdict))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactivationFit:
    """Posterior of the reactivation model.

    Parameters
    ----------
    idata : xarray.DataTree
        Groups ``posterior`` (chain, draw) and ``sample_stats``; coefficients on the standardised scale.
    """

    idata: xr.DataTree

    KIND = "reactivation"

    @property
    def verdict(self) -> Verdict:
        """Whether the sampler converged, and the figures behind it."""
        return verdict_of(self.idata)

    @property
    def description(self) -> dict[str, Any]:
        """Formula, priors, horizon and the data's terms, in plain values."""
        return json.loads(self.idata.attrs["model"])

    @property
    def horizon(self) -> str:
        """Label of the horizon that the probabilities are about, such as ``"30d"``."""
        return units.duration_label(self.description["horizon"])

    def summary(self, *, ci_prob: float = 0.9, allow_unconverged: bool = False) -> pd.DataFrame:
        """Coefficients with intervals, on the standardised scale; ``unit`` is what one step of it is in the feature.

        Raises
        ------
        NotConvergedError
            If the fit did not converge and ``allow_unconverged`` is not set; then the table says so in a column.
        """
        self.verdict.require(allow_unconverged=allow_unconverged)
        table = summary_table(self.idata, self.verdict, ci_prob=ci_prob)
        terms = Terms.from_dict(self.description["terms"])
        units_of = {f"slope[{name}]": step for name, step in zip(terms.fixed.labels, terms.fixed.scale, strict=True)}
        units_of["slope_interest"] = terms.interest_scale
        table.insert(0, "unit", [units_of.get(str(name), np.nan) for name in table.index])
        return table

    def draws(
        self,
        snapshots: Snapshots,
        decay: DecayFit,
        *,
        draws: int = 200,
        random_seed: int | None = None,
        allow_unconverged: bool = False,
    ) -> xr.DataArray:
        """Draws of P(reactivation) of users at one cutoff, carrying their uncertain interest draw for draw.

        Returns
        -------
        xarray.DataArray
            Dimensions (sample, user), dense: for as many users as memory takes.

        Raises
        ------
        ValueError
            If the snapshots have several cutoffs.
        NotConvergedError
            If a fit did not converge and ``allow_unconverged`` is not set.
        """
        if len(snapshots.histories) != 1:
            raise ValueError(f"expected snapshots at one cutoff, got {len(snapshots.histories)}")
        self.verdict.require(allow_unconverged=allow_unconverged)
        # A draw of one fit goes with a draw of the other: as many as the shorter has.
        own = self.idata["posterior"].sizes
        draws = min(draws, own[names.CHAIN] * own[names.DRAW])
        population = decay.population(draws, allow_unconverged=allow_unconverged)
        log_interest = log_interest_draws(population, snapshots.histories.values(), random_seed)
        p = expit(self._logit(snapshots.table, log_interest))
        users = snapshots.table[names.USER].to_numpy()
        dims = (names.USER, names.SAMPLE)
        found = xr.DataArray(p, dims=dims, coords={names.USER: users}, name=names.P_REACTIVATION)
        found.attrs["horizon"] = self.horizon
        return found.transpose(names.SAMPLE, names.USER)

    def _logit(self, table: pd.DataFrame, log_interest: Floats) -> Floats:
        """Logit (row, sample) of each user at each draw, one draw of log interest (row, sample) to each."""
        terms = Terms.from_dict(self.description["terms"])
        if self.description["interest"] == "plugin":
            log_interest = np.repeat(log_mean(log_interest), log_interest.shape[1], axis=1)
        design = terms.design(table, log_interest)
        sample = thinned(self.idata["posterior"].to_dataset(), log_interest.shape[1])
        logit = sample["intercept"].to_numpy() + sample["slope_interest"].to_numpy() * design.level
        if terms.fixed.labels:
            logit = logit + design.x @ sample["slope"].to_numpy().T
        if terms.groups:
            logit = logit + _with_unseen(sample, "group_intercept", "tau_intercept")[:, design.group].T
        if terms.pooled.labels:
            slopes = _with_unseen(sample, "group_slope", "tau_slope")
            logit = logit + np.einsum("rf,srf->rs", design.z, slopes[:, design.group])
        return np.asarray(logit)

    def save(self, path: str | Path) -> Path:
        """Write the fit to ``.nc`` (NetCDF) or ``.zarr``; read it with :func:`bayesdecay.load`."""
        return write_tree(self.idata, path)

    def _repr_html_(self) -> str:
        table = summary_table(self.idata, self.verdict).to_html(float_format="{:.3g}".format)
        return f"<p>Reactivation fit, {self.horizon}: {self.verdict}</p>{table}"


def score_reactivation(p: xr.DataArray, *, ci_prob: float = 0.9) -> Scores:
    """Mean and credible interval of each user's P(reactivation), from its draws (sample, user)."""
    name = names.per_horizon(names.P_REACTIVATION, p.attrs["horizon"])
    draws = p.transpose(names.SAMPLE, names.USER).to_numpy()
    lower, upper = np.quantile(draws, [(1 - ci_prob) / 2, (1 + ci_prob) / 2], axis=0)
    values = (draws.mean(axis=0), lower, upper)
    columns = dict(zip((name, *names.bounds(name)), values, strict=True))
    return Scores(table=pa.table({names.USER: pa.array(p[names.USER].to_numpy()), **columns}), ci_prob=ci_prob)


def _with_unseen(sample: xr.Dataset, name: str, spread: str) -> Floats:
    """Values (sample, group, ...) with one more group at the end, drawn from the spread of the groups."""
    known, tau = sample[name].to_numpy(), sample[spread].to_numpy()
    shape = (known.shape[0], 1, *known.shape[2:])
    # A fixed seed: which groups are unseen must not change the scores of the others.
    unseen = tau.reshape(shape) * np.random.default_rng(0).standard_normal(shape)
    return np.concatenate([known, unseen], axis=1)
