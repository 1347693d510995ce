r"""The decay model: ten or so population parameters of users' fading interest, however many users there are.

In: a :class:`~bayesdecay.data.history.History`. Out: a :class:`DecayFit` with the posterior of the population, from
which every user's own posterior follows in closed form (:mod:`bayesdecay.model.scoring`).

.. math::

    \lambda(t) = I_0 e^{-r V(t)},\quad V(t) = t - \rho L(t), \qquad
    \log r = \mu_r + x\delta + \sigma_r z,\quad
    I_0 \mid z \sim \mathrm{Gamma}(\alpha, \text{mean } m),\quad \log m = \mu_I + x\gamma + \kappa z .

A share :math:`\pi` of the users are regulars: their interest does not fade, and its mean is
:math:`\log m = \mu_I + x\gamma + \nu`.

The likelihood is the marginal one of :mod:`bayesdecay.model.grid`.
"""

from __future__ import annotations

import html
import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from pytensor.compile.sharedvalue import shared

from bayesdecay import names
from bayesdecay.data.history import History, SparkHistory
from bayesdecay.errors import unknown_name
from bayesdecay.model import grid as grids
from bayesdecay.model import learned
from bayesdecay.model.density import Density
from bayesdecay.model.design import FitData
from bayesdecay.model.fineness import fine_enough, grid_error, trimmed
from bayesdecay.model.fused import FusedLogLikelihood
from bayesdecay.model.grid import Grid
from bayesdecay.model.laplace import LEAST_PROPOSALS, draw_laplace
from bayesdecay.model.pace import pace_of
from bayesdecay.model.pace_fit import draw_shocks, fit_pace
from bayesdecay.model.population import REGULARS, Population
from bayesdecay.model.posterior import GRID_TOLERANCE, Verdict, labelled, summary_table, verdict_of, write_tree
from bayesdecay.model.prior import DECAY_PRIORS, REGULAR_PRIORS, Prior, priors_table, with_changes
from bayesdecay.model.sampling import Sampling, draw_posterior
from bayesdecay.model.scoring import ScoreOptions, Scores, score
from bayesdecay.model.shocks import SHOCKS
from bayesdecay.model.spark_scoring import score_on_spark
from bayesdecay.model.variables import pooled, variable
from bayesdecay.model.whitening import Whitening

__all__ = ["DecayFit", "DecayModel"]

METHODS = ("nuts", "laplace", "auto")
# Draws that the grid is checked at. Of many users' narrow posterior one is like the other, and each takes a pass.
_CHECKED_DRAWS, _CHECKED_DRAWS_LARGE, _MANY_USERS = 4, 1, 100_000
_FIRST_DRAWS = 100
# Draws that what was expected week by week is averaged over, at most.
_PACE_DRAWS = 8
# Rows of a first look, which finds the mode and the grid; of twice as many or less, all are looked at.
_LOOKED_AT = 20_000
# Part of the tolerance of the grid that is used up beforehand. What some rows say of the error of all is rough: of a
# million users, 0.005 became 0.024.
_OF_TOLERANCE, _OF_TOLERANCE_SAMPLED = 0.5, 0.1
# Where the grid is found too coarse afterwards: 0.1 nats of 800 users became less than 0.01 by so much finer a grid.
_FINER = 1.5
# Rows x rates from which on "auto" takes the approximation.
_LARGE = 4_000_000
# Proposals x rows x rates where proposals are cheap, some seconds: with 440 effective draws on CDNOW the standard
# deviations are 6 % short, by chance or by the tails that so few do not reach.
_LOOKS, _MOST_PROPOSALS = 4e9, 2_000
# Each design has its own weights on the grid. Of 480 of them the graph outside the fused operation takes most of the
# time: a fit takes 140 s uncompiled and 50 s compiled.
_FEW_DESIGNS = 16
_LOGLIK = FusedLogLikelihood("bayesdecay.model.likelihood.marginal_loglik", n_parameters=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecayModel:
    r"""Description of a decay model; nothing is fitted until :meth:`fit`.

    Parameters
    ----------
    restoration : float, optional
        Part :math:`\rho \in [0, 1]` of lost interest that a visit restores; learned unless given.
    coupling : float, optional
        :math:`\kappa`, how the first interest moves with the decay rate; learned unless given, 0 for none.
    priors : mapping of str to Prior
        Priors that replace the defaults, see :meth:`priors_table`.
    rates : int, optional
        Number of decay rates of the grid; enough for the data unless given.
    regulars : bool
        Whether some users may be regulars, whose interest does not fade. Their share :math:`\pi` is learned, and so is
        how much more often they come than a typical user does at first.
    clock : {"instants", "days"}, optional
        Whether activities happen at any time, or a day is active or not, however much is done in it. Of histories of
        active days the latter unless given, of sessions and events the former.

    Raises
    ------
    ValueError
        If the restoration lies outside [0, 1], or a prior's name or the clock is unknown.
    """

    restoration: float | None = None
    coupling: float | None = None
    priors: Mapping[str, Prior] = field(default_factory=dict)
    rates: int | None = None
    regulars: bool = False
    clock: str | None = None

    def __post_init__(self) -> None:
        if self.restoration is not None and not 0.0 <= self.restoration <= 1.0:
            raise ValueError(f"restoration must lie in [0, 1], got {self.restoration}")
        if self.clock not in (None, *grids.CLOCKS):
            raise unknown_name("clock", self.clock, grids.CLOCKS)
        self.priors_in_force()

    def priors_in_force(self) -> dict[str, Prior]:
        """Priors by name, the user's own among them."""
        return with_changes({**DECAY_PRIORS, **(REGULAR_PRIORS if self.regulars else {})}, self.priors)

    def priors_table(self) -> pd.DataFrame:
        """Tidy table of the priors in force, each with its reason."""
        return priors_table(self.priors_in_force())

    def grid(self, history: History) -> Grid:
        """Grid of decay rates that covers the times of a history."""
        longest = max(float(block.T.max()) for block in history.blocks())
        # How far apart two activities must be to be told apart [days]; of instants, a minute.
        resolution = {"day": 1.0, "session": history.session_gap, "event": 1 / 1_440}[history.activity]
        return Grid.covering(
            longest,
            resolution,
            restoration=self.restoration,
            n_rates=self.rates,
            regulars=self.regulars,
            clock=grids.clock_of(history, self.clock),
        )

    def build(self, data: FitData, grid: Grid) -> pm.Model:
        """Build the PyMC model of the population; samples nothing."""
        coords = {"group": data.groups, "covariate": data.standard.names}
        with pm.Model(coords={name: values for name, values in coords.items() if values}) as model:
            priors = self.priors_in_force()
            location = [self._location(quantity, slope, priors, data) for quantity, slope in _LOCATIONS]
            sigma, alpha = variable(priors, "sigma_log_rate"), variable(priors, "alpha")
            kappa = variable(priors, "kappa", fixed=self.coupling)
            rho = variable(priors, "rho", fixed=self.restoration)
            log_rates = np.log(grid.rates)
            shape = {"alpha": alpha, "kappa": kappa, "sigma_r": sigma}
            terms: tuple[Any, Any] = (
                grids.log_weights(log_rates, location[0][:, None], sigma, xp=pt),
                grids.log_beta(log_rates, (location[0][:, None], location[1][:, None]), shape, xp=pt),
            )
            if grid.regular:
                share, shift = (variable(priors, name) for name in REGULARS)
                terms = grids.with_regulars(*terms, alpha, (share, location[1][:, None], shift), xp=pt)
            likelihood = _LOGLIK.value(
                *terms,
                alpha,
                rho,
                # Not pm.Data, which would turn single precision into double.
                *(shared(values, name=name, borrow=True) for name, values in data.arrays(grid).items()),
            )
            # log Gamma(alpha + n) - log Gamma(alpha) summed over users, as a sum over activities.
            n_above = data.n_above(grid)
            order = np.arange(n_above.size)
            pm.Potential("loglik", likelihood + pt.sum(n_above * pt.log(alpha + order)))
        return model

    def _location(self, quantity: str, slope: str, priors: Mapping[str, Prior], data: FitData) -> Any:
        """Location (design,) of log r or log m: the population's, its groups', and the covariates' shift."""
        mu = variable(priors, f"mu_{quantity}")
        location: Any = pt.zeros(data.design_group.size) + mu
        if data.groups:
            spread = variable(priors, f"tau_{quantity}")
            location = pooled(f"group_{quantity}", mu, spread, centered=data.few_large_groups)[data.design_group]
        if data.standard.names:
            location = location + pt.dot(data.design_covariates, variable(priors, slope, dims="covariate"))
        return location

    def fit(
        self,
        history: History,
        *,
        method: str = "nuts",
        sampling: Sampling | None = None,
        random_seed: int | None = None,
        keep_training_data: bool = False,
    ) -> DecayFit:
        """Draw the posterior of the population.

        Parameters
        ----------
        history : History
            One row a user; its group and covariates, if any, are the model's.
        method : {"nuts", "laplace", "auto"}
            NUTS, or a normal approximation at the mode that is corrected by importance resampling
            (:mod:`bayesdecay.model.laplace`): in seconds or minutes what takes NUTS hours, where users are so many that
            the posterior is about normal; the verdict says by k-hat whether it is. ``"auto"``: NUTS where it takes a
            minute or two, or values are pooled over groups, else the approximation, and NUTS where that is not good.
        sampling : Sampling, optional
            Draws, warm-up, chains, cores; 4 chains of 500 draws, with groups 1,000, unless told.
        random_seed : int, optional
            The same seed gives the same fit on the same machine.
        keep_training_data : bool
            Keep the weighted rows in the fit, and so in its file.

        Raises
        ------
        ValueError
            If the method is unknown.
        DataError
            If the history is empty, or a covariate is missing or constant.

        Warns
        -----
        UserWarning
            If nobody was active again, all users are alike, or one user decides what is learned of all.
        """
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
        sampling = sampling or Sampling()
        data = FitData.of(history)
        whole, narrow, finest = self.grid(history), True, self.rates is not None
        while True:
            model, grid, density, whitening = self._looked_at(data, whole, narrow=narrow)
            tree = _drawn(data, model, grid, (density, whitening), (method, sampling, random_seed))
            if narrow and not _holds(grid, tree):  # the first look at some of the users misled
                narrow = False
                continue
            error = grid_error(self._population(tree, data, grid), data, grid, whole=whole)
            if finest or error <= GRID_TOLERANCE:
                break
            whole, finest = whole.finer(_FINER), True  # the first look's draws lay where a coarser grid will do
        for name, fixed in (("kappa", self.coupling), ("rho", self.restoration)):
            tree["posterior"][name].attrs["fixed"] = int(fixed is not None)
        if keep_training_data:
            tree["training_data"] = xr.DataTree(_training_data(data))
        tree[SHOCKS] = xr.DataTree(self._shocks(tree, history, random_seed))
        verdict = Verdict.of(tree, grid_error=error)
        model = _description(self, history) | {"remarks": _remarks(self, history, data, tree)}
        return DecayFit(idata=labelled(tree, kind=DecayFit.KIND, model=model, verdict=verdict))

    def _shocks(self, tree: xr.DataTree, history: History, random_seed: int | None) -> xr.Dataset:
        """Draw what the log says of the pace of all users together, a draw beside each of the posterior's."""
        pace = pace_of(Population.of(tree, draws=_PACE_DRAWS), history)
        found = fit_pace(pace, self.priors_in_force())
        sizes = tree["posterior"].sizes
        # Other random numbers than the sampler's.
        rng = np.random.default_rng(None if random_seed is None else [random_seed, 1])
        return draw_shocks(found, (sizes[names.CHAIN], sizes[names.DRAW]), rng)

    def _looked_at(self, data: FitData, grid: Grid, *, narrow: bool) -> tuple[pm.Model, Grid, Density, Whitening]:
        """Find a grid that is fine enough and where the posterior lies; of many users, from a look at some first."""
        look = data.sample(_LOOKED_AT) if data.weight.size > 2 * _LOOKED_AT else data
        model = self.build(look, grid)
        density = Density.of(model)
        whitening, finer = Whitening.of(density, bent_by="rho"), grid
        first = xr.DataTree.from_dict({"posterior": whitening.normal_draws(density, _FIRST_DRAWS)})
        if self.rates is None:
            population = self._population(first, look, grid)
            share = _OF_TOLERANCE if look is data else _OF_TOLERANCE_SAMPLED
            finer = fine_enough(population, look, grid, share=share)
            finer = finer if look is data else trimmed(population, look, finer, share=share)
        if look is not data and narrow:
            # Where the mode of all lies is known as well as some tell, which is less well than all do.
            rho, wide = first["posterior"]["rho"], math.sqrt(data.weight.size / look.weight.size)
            reach = (10.0 + 4.0 * wide) * float(rho.std())
            finer = finer.narrowed(float(rho.mean()) - reach, float(rho.mean()) + reach)
        if look is not data or finer is not grid:
            model, grid = self.build(data, finer), finer
            density = Density.of(model)
        if look is not data:
            whitening = whitening.refined(density)
        return model, grid, density, whitening

    @staticmethod
    def _population(tree: xr.DataTree, data: FitData, grid: Grid) -> Population:
        """Some draws of a posterior, with what the model knows besides them put into its tree."""
        tree["constant_data"] = xr.DataTree(_constants(data, grid))
        many = data.weight.sum() > _MANY_USERS
        return Population.of(tree, draws=_CHECKED_DRAWS_LARGE if many else _CHECKED_DRAWS)


def _drawn(
    data: FitData,
    model: pm.Model,
    grid: Grid,
    where: tuple[Density, Whitening],
    how: tuple[str, Sampling, int | None],
) -> xr.DataTree:
    """Draw by the method that was asked for, or by NUTS where "auto" finds the approximation poor."""
    density, whitening = where
    method, sampling, random_seed = how
    if method == "laplace" or (method == "auto" and _is_large(data, grid)):
        cells = data.weight.size * grid.rates.size
        proposals = int(np.clip(_LOOKS / cells, LEAST_PROPOSALS, _MOST_PROPOSALS))
        tree = draw_laplace(density, whitening, sampling, proposals=proposals, random_seed=random_seed)
        if method == "laplace" or Verdict.of(tree).converged:
            return tree
    return draw_posterior(
        model,
        sampling,
        density=density if data.design_group.size <= _FEW_DESIGNS else None,
        whitening=whitening,
        random_seed=random_seed,
    )


def _holds(grid: Grid, tree: xr.DataTree) -> bool:
    """Whether all draws of the restoration lie where the likelihood is interpolated."""
    rho = tree["posterior"]["rho"]
    return grid.restorations.size == 1 or bool(rho.min() >= grid.restorations[0] and rho.max() <= grid.restorations[-1])


def _is_large(data: FitData, grid: Grid) -> bool:
    """Whether NUTS would take minutes, and the posterior can be about normal: a spread of groups is not."""
    return not data.groups and data.weight.size * grid.rates.size >= _LARGE


_LOCATIONS = (("log_rate", "delta"), ("log_interest", "gamma"))


class _Asked(TypedDict, total=False):
    options: ScoreOptions | None
    draws: int
    allow_unconverged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DecayFit:
    """Posterior of the decay model.

    Parameters
    ----------
    idata : xarray.DataTree
        Groups ``posterior`` (chain, draw), ``sample_stats``, ``constant_data`` (grid, groups, covariates), ``shocks``
        (chain, draw): how restless the pace of all users together is, and where it stands at the cutoff.
    """

    idata: xr.DataTree

    KIND = "decay"

    @property
    def verdict(self) -> Verdict:
        """Whether the sampler converged, and the figures behind it."""
        return verdict_of(self.idata)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What must be known before it is used: where the data told nothing and the prior speaks."""
        return tuple(json.loads(self.idata.attrs["model"]).get("remarks", ()))

    def summary(self, *, ci_prob: float = 0.9, allow_unconverged: bool = False) -> pd.DataFrame:
        """Posterior of the population parameters, a row each, times in days.

        Raises
        ------
        NotConvergedError
            If the fit did not converge and ``allow_unconverged`` is not set; then the table says so in a column.
        """
        self.verdict.require(allow_unconverged=allow_unconverged)
        return summary_table(self.idata, self.verdict, ci_prob=ci_prob)

    @overload
    def score(self, history: History, **asked: Unpack[_Asked]) -> Scores: ...
    @overload
    def score(self, history: SparkHistory, **asked: Unpack[_Asked]) -> Any: ...
    def score(
        self,
        history: History | SparkHistory,
        *,
        options: ScoreOptions | None = None,
        draws: int = 200,
        allow_unconverged: bool = False,
    ) -> Scores | Any:
        """Score every user of a history: those of the fit, or new users and new events, without a new fit.

        Parameters
        ----------
        history : History or SparkHistory
            One row a user, up to the cutoff that the statements are made at.
        options : ScoreOptions, optional
            Horizons, silent times, floor, interval; 30 and 90 days unless told.
        draws : int
            Posterior draws used, evenly spread over the chains.

        Returns
        -------
        Scores or pyspark.sql.DataFrame
            The latter, with the same columns and not yet computed, of a history on Spark.

        Raises
        ------
        NotConvergedError
            If the fit did not converge and ``allow_unconverged`` is not set.
        """
        population = self.population(draws, allow_unconverged=allow_unconverged)
        if isinstance(history, SparkHistory):
            return score_on_spark(population, history, options or ScoreOptions())
        return score(population, history, options or ScoreOptions())

    def population(self, draws: int | None = None, *, allow_unconverged: bool = False) -> Population:
        """Return the posterior as plain arrays, at most ``draws`` rows."""
        self.verdict.require(allow_unconverged=allow_unconverged)
        return Population.of(self.idata, draws=draws)

    def save(self, path: str | Path) -> Path:
        """Write the fit to ``.nc`` (NetCDF) or ``.zarr``; read it with :func:`bayesdecay.load`."""
        return write_tree(self.idata, path)

    def _repr_html_(self) -> str:
        table = summary_table(self.idata, self.verdict).to_html(float_format="{:.3g}".format)
        remarks = "".join(f"<p>{html.escape(remark)}</p>" for remark in self.remarks)
        return f"<p>Decay fit: {self.verdict}</p>{remarks}{table}"


def _constants(data: FitData, grid: Grid) -> xr.Dataset:
    """What scoring needs besides the draws."""
    constants = xr.Dataset(coords={"rate": grid.rates, "restoration_node": grid.restorations})
    if data.groups:
        constants = constants.assign_coords(group=list(data.groups))
    if data.standard.names:
        constants = constants.assign_coords(covariate=list(data.standard.names))
        constants["covariate_center"] = ("covariate", data.standard.center)
        constants["covariate_scale"] = ("covariate", data.standard.scale)
    constants["rate"].attrs |= {"units": "1/d", "clock": grid.clock}
    if grid.regular:
        constants["regular_rate"] = ((), grid.regular, {"units": "1/d"})
    return constants


def _training_data(data: FitData) -> xr.Dataset:
    """Weighted distinct rows that the fit saw."""
    columns = {"n": data.block.n, "T": data.block.T, "last": data.block.last, "weight": data.weight}
    rows = {name: ("row", values) for name, values in columns.items()}
    return xr.Dataset({**rows, "time": ("activity", data.block.times)})


def _remarks(model: DecayModel, history: History, data: FitData, tree: xr.DataTree) -> list[str]:
    """Say, and warn of, what the data could not tell; the warning names the user that the kept words do not."""
    different = data.weight.size
    for remark in learned.of_data(history, different=different, named=True):
        warnings.warn(remark, UserWarning, stacklevel=3)
    priors = with_changes(DECAY_PRIORS, model.priors)
    told = learned.of_posterior(tree["posterior"].to_dataset(), priors)
    return [*learned.of_data(history, different=different, named=False), *told]


def _description(model: DecayModel, history: History) -> dict[str, Any]:
    """Return the model and the data's terms in plain words, as kept in the fit's attributes."""
    return {
        "restoration": model.restoration,
        "coupling": model.coupling,
        "rates": model.rates,
        "regulars": model.regulars,
        "clock": grids.clock_of(history, model.clock),
        "priors": {name: asdict(prior) for name, prior in model.priors_in_force().items()},
        "activity": history.activity,
        "session_gap": history.session_gap,
        "kinds": history.kinds,
        "at": str(history.at),
        "users": len(history),
        "group": history.group,
        "covariates": list(history.covariates),
    }
