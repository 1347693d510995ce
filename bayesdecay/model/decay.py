r"""The decay model: ten or so population parameters of users' fading interest, however many users there are.

In: a :class:`~bayesdecay.data.history.History`. Out: a :class:`~bayesdecay.model.decay_fit.DecayFit` with the posterior
of the population, from which every user's own posterior follows in closed form (:mod:`bayesdecay.model.scoring`).

.. math::

    \lambda(t) = I_0 e^{-r V(t)},\quad V(t) = t - \rho L(t), \qquad
    \log r = \mu_r + x\delta + \sigma_r z,\quad
    I_0 \mid z \sim \mathrm{Gamma}(\alpha, \text{mean } m),\quad \log m = \mu_I + x\gamma + \kappa z .

With a shoulder :math:`\tau` interest falls by a power law, :math:`\lambda(t) = I_0 (1 + V(t)/\tau)^{-r\tau}`, which
begins at the rate r and slows down.

A share :math:`\pi` of the users may be regulars: their interest does not fade, and its mean is
:math:`\log m = \mu_I + x\gamma + \nu`.

The likelihood is the marginal one of :mod:`bayesdecay.model.grid`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from pytensor.compile.sharedvalue import shared

from bayesdecay import names
from bayesdecay.data.calendar import Calendar
from bayesdecay.data.history import History
from bayesdecay.errors import unknown_name
from bayesdecay.model import grid as grids
from bayesdecay.model import learned
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.design import FitData
from bayesdecay.model.fused import FusedLogLikelihood
from bayesdecay.model.grid import Grid
from bayesdecay.model.pace import pace_of
from bayesdecay.model.pace_fit import draw_shocks, fit_pace
from bayesdecay.model.population import REGULARS, Population
from bayesdecay.model.posterior import Verdict, labelled
from bayesdecay.model.prior import (
    DECAY_PRIORS,
    REGULAR_PRIORS,
    SHOULDER_PRIORS,
    Prior,
    priors_table,
    with_changes,
)
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.search import METHODS, Means, draw_on_grid
from bayesdecay.model.shocks import CALENDAR_LEVEL, SHOCKS
from bayesdecay.model.variables import pooled, variable
from bayesdecay.units import Duration

__all__ = ["DecayModel"]

# Draws that what was expected week by week is averaged over, at most.
_PACE_DRAWS = 8
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
    regulars : bool, optional
        Whether some users may be regulars, whose interest does not fade. Their share :math:`\pi` is learned, and so is
        how much more often they come than a typical user does at first. Unless given, where there is strong evidence
        for them, and none elsewhere, see :mod:`bayesdecay.model.place`. With them ``sigma_log_rate`` has another prior.
    clock : {"instants", "days"}, optional
        Whether activities happen at any time, or a day is active or not, however much is done in it. Of histories of
        active days the latter unless given, of sessions and events the former.
    calendar : Calendar, optional
        What is known of days past and to come. What it tells of the past is not learned as chance or season again, and
        forecasts of the fit have what it tells of the days to come, as far as it was known at the cutoff.
    shoulder : duration, optional
        Age from which on interest falls by a power law of the time, ever more slowly, and no longer exponentially;
        ``math.inf`` for the exponential law. Unless given, the most likely one where there is strong evidence for a
        power law, and none elsewhere, see :mod:`bayesdecay.model.shoulder`.

    Raises
    ------
    ValueError
        If the restoration lies outside [0, 1], the shoulder is not above zero, or a prior's name or the clock is
        unknown.
    """

    restoration: float | None = None
    coupling: float | None = None
    priors: Mapping[str, Prior] = field(default_factory=dict)
    rates: int | None = None
    regulars: bool | None = None
    clock: str | None = None
    calendar: Calendar | None = None
    shoulder: Duration | None = None

    def __post_init__(self) -> None:
        if self.restoration is not None and not 0.0 <= self.restoration <= 1.0:
            raise ValueError(f"restoration must lie in [0, 1], got {self.restoration}")
        if self.clock not in (None, *grids.CLOCKS):
            raise unknown_name("clock", self.clock, grids.CLOCKS)
        grids.shoulder_days(self.shoulder)
        self.priors_in_force()

    def priors_in_force(self) -> dict[str, Prior]:
        """Priors by name, the user's own among them; where regulars are left to the log, theirs too."""
        kinds = REGULAR_PRIORS if self.regulars else {}
        if self.regulars is None:
            kinds = {name: REGULAR_PRIORS[name] for name in REGULARS}
        shoulder = SHOULDER_PRIORS if self.shoulder is None else {}
        return with_changes({**DECAY_PRIORS, **kinds, **shoulder}, self.priors)

    def settled(self, *, regulars: bool) -> DecayModel:
        """Return the model with or without regulars, where that was left to the log; else itself."""
        if self.regulars is not None:
            return self
        kept = {name: prior for name, prior in self.priors.items() if regulars or name not in REGULARS}
        return replace(self, regulars=regulars, priors=kept)

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
            regulars=bool(self.regulars),
            clock=grids.clock_of(history, self.clock),
            shoulder=grids.shoulder_days(self.shoulder),
        )

    def build(self, data: FitData, grid: Grid) -> pm.Model:
        """Build the PyMC model of the population; samples nothing."""
        coords = {"group": data.groups, "covariate": data.standard.names}
        with pm.Model(coords={name: values for name, values in coords.items() if values}) as model:
            priors = self.settled(regulars=bool(grid.regular)).priors_in_force()
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
        data = FitData.of(history)
        means = Means(
            method=method,
            sampling=sampling or Sampling(),
            random_seed=random_seed,
            fixed_rates=self.rates is not None,
            shoulder=self.priors_in_force().get("shoulder"),
            regulars=self.regulars is None,
        )
        tree, error = draw_on_grid(self.build, data, self.grid(history), means)
        for name, fixed in (("kappa", self.coupling), ("rho", self.restoration)):
            tree["posterior"][name].attrs["fixed"] = int(fixed is not None)
        if keep_training_data:
            tree["training_data"] = xr.DataTree(_training_data(data))
        tree[SHOCKS] = xr.DataTree(self._shocks(tree, history, random_seed))
        verdict = Verdict.of(tree, grid_error=error)
        law: dict[str, Any] = {str(name): value for name, value in tree["constant_data"].attrs.items()}
        settled = self.settled(regulars="regular_rate" in tree["constant_data"].data_vars)
        model = _description(settled, history) | law | {"remarks": _remarks(settled, history, data, tree)}
        return DecayFit(idata=labelled(tree, kind=DecayFit.KIND, model=model, verdict=verdict))

    def _shocks(self, tree: xr.DataTree, history: History, random_seed: int | None) -> xr.Dataset:
        """Draw what the log says of the pace of all users together, a draw beside each of the posterior's."""
        pace = pace_of(Population.of(tree, draws=_PACE_DRAWS), history, self._known(history))
        found = fit_pace(pace, self.priors_in_force())
        sizes = tree["posterior"].sizes
        # Other random numbers than the sampler's.
        rng = np.random.default_rng(None if random_seed is None else [random_seed, 1])
        drawn = draw_shocks(found, (sizes[names.CHAIN], sizes[names.DRAW]), rng)
        return drawn.assign_attrs({CALENDAR_LEVEL: pace.known_level})

    def _known(self, history: History) -> Calendar | None:
        """What was known of the calendar at the cutoff."""
        return None if self.calendar is None else self.calendar.known_at(history.at)


_LOCATIONS = (("log_rate", "delta"), ("log_interest", "gamma"))


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
    told = learned.of_posterior(tree["posterior"].to_dataset(), model.priors_in_force())
    return [*learned.of_data(history, different=different, named=False), *told]


def _description(model: DecayModel, history: History) -> dict[str, Any]:
    """Return the model and the data's terms in plain words, as kept in the fit's attributes."""
    return {
        "restoration": model.restoration,
        "coupling": model.coupling,
        "rates": model.rates,
        "regulars": model.regulars,
        "clock": grids.clock_of(history, model.clock),
        "calendar": None if model.calendar is None else asdict(model.calendar.known_at(history.at)),
        "priors": {name: asdict(prior) for name, prior in model.priors_in_force().items()},
        "activity": history.activity,
        "session_gap": history.session_gap,
        "kinds": history.kinds,
        "at": str(history.at),
        "users": len(history),
        "group": history.group,
        "covariates": list(history.covariates),
    }
