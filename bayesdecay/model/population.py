"""The posterior of the population as plain arrays, a row a draw: what scoring needs of a fit, without PyMC."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesdecay import names
from bayesdecay.curves import EXPONENTIAL
from bayesdecay.data.calendar import Calendar
from bayesdecay.data.history import Block
from bayesdecay.errors import DataError
from bayesdecay.model import grid as grids
from bayesdecay.model.design import Standard
from bayesdecay.model.grid import Grid
from bayesdecay.model.posterior import thinned
from bayesdecay.model.shocks import CALENDAR_LEVEL, SEED, SHOCKS, paths, segments, with_calendar
from bayesdecay.model.user_statistics import Statistics, marginal_loglik

__all__ = ["REGULARS", "Population", "loglik_by_row", "total_loglik"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Draws of the population parameters, times in days.

    ``alpha``, ``sigma``, ``kappa``, ``rho`` (sample,); ``location`` (2, sample, group): mu of log r and of log m, the
    last group being one that the fit has not seen; ``slope`` (2, sample, covariate): delta and gamma; ``regulars``
    (2, sample): their share and the shift of their log m, of no meaning where the grid has none; ``path`` (sample,
    week): factors on everybody's intensity in the weeks after ``fitted_at``, the cutoff of the fit, if it knows any;
    ``calendar``: what is known of the days to come, beside a day of factor ``calendar_level``.
    """

    grid: Grid
    alpha: Floats
    sigma: Floats
    kappa: Floats
    rho: Floats
    location: Floats
    slope: Floats
    regulars: Floats
    groups: tuple[str, ...]
    standard: Standard
    activity: str
    path: Floats | None = None
    fitted_at: pd.Timestamp | None = None
    calendar: Calendar | None = None
    calendar_level: float = 1.0

    @classmethod
    def of(cls, tree: xr.DataTree, *, draws: int | None = None) -> Population:
        """Take the draws from a fit's tree, at most ``draws`` of them, evenly spread over the chains."""
        posterior, constant = tree["posterior"].to_dataset(), tree["constant_data"].to_dataset()
        total = posterior.sizes[names.CHAIN] * posterior.sizes[names.DRAW]
        size = min(draws or total, total)
        sample = thinned(posterior, size)
        groups = tuple(str(value) for value in constant["group"].to_numpy()) if "group" in constant else ()
        covariates = tuple(str(v) for v in constant["covariate"].to_numpy()) if "covariate" in constant else ()
        center, scale = ((constant[f"covariate_{part}"].to_numpy() if covariates else np.empty(0)) for part in _PARTS)
        slopes = [sample[s].to_numpy() if covariates else np.empty((size, 0)) for s in ("delta", "gamma")]
        regular = float(constant.get("regular_rate", 0.0))
        model = json.loads(tree.attrs.get("model", "{}"))
        shocks = tree[SHOCKS].to_dataset() if SHOCKS in tree else None
        return cls(
            grid=Grid(
                rates=constant["rate"].to_numpy(),
                restorations=constant["restoration_node"].to_numpy(),
                regular=regular,
                # Fits of earlier versions know no other clock and no other law.
                clock=constant["rate"].attrs.get("clock", grids.INSTANTS),
                shoulder=float(constant["rate"].attrs.get("shoulder", EXPONENTIAL)),
            ),
            alpha=sample["alpha"].to_numpy(),
            sigma=sample["sigma_log_rate"].to_numpy(),
            kappa=sample["kappa"].to_numpy(),
            rho=sample["rho"].to_numpy(),
            location=np.stack([_locations(sample, quantity, bool(groups)) for quantity in _QUANTITIES]),
            slope=np.stack(slopes),
            regulars=np.stack([sample[name].to_numpy() if regular else np.zeros(size) for name in REGULARS]),
            groups=groups,
            standard=Standard(names=covariates, center=center, scale=scale),
            activity=model.get("activity", "day"),
            path=None if shocks is None else paths(thinned(shocks, size), int(shocks.attrs[SEED])),
            fitted_at=pd.Timestamp(model["at"]) if "at" in model else None,
            calendar=Calendar(**model["calendar"]) if model.get("calendar") else None,
            calendar_level=1.0 if shocks is None else float(shocks.attrs.get(CALENDAR_LEVEL, 1.0)),
        )

    @property
    def size(self) -> int:
        """Number of draws."""
        return self.alpha.size

    def at(self, sample: int) -> Population:
        """Take one of the draws."""
        return self.take(np.array([sample]))

    def take(self, samples: Integers) -> Population:
        """Take some of the draws."""
        return replace(
            self,
            alpha=self.alpha[samples],
            sigma=self.sigma[samples],
            kappa=self.kappa[samples],
            rho=self.rho[samples],
            location=self.location[:, samples],
            slope=self.slope[:, samples],
            regulars=self.regulars[:, samples],
            path=None if self.path is None else self.path[samples],
        )

    def shock(self, at: pd.Timestamp, ends: Floats, *, shocks: bool = True, calendar: Calendar | None = None) -> Floats:
        """Mean factor (sample, horizon) on everybody's intensity between successive ends [days] after a cutoff.

        The paths begin at the cutoff of the fit. At a later one time has passed in which nobody has looked. A calendar
        that is given takes the place of the fit's own.
        """
        path, since = np.ones((self.size, 1)), 0.0
        if shocks and self.path is not None and self.fitted_at is not None:
            path, since = self.path, max((at - self.fitted_at) / pd.Timedelta(days=1), 0.0)
        known = self.calendar if calendar is None else calendar
        if known is None:
            return segments(path, since, ends)
        today = at.normalize()
        passed = (at - today) / pd.Timedelta(days=1)
        length = passed + ends.max(initial=0.0)
        daily = with_calendar(path, since - passed, known, today, length) / self.calendar_level
        return segments(daily, passed, ends, width=1.0)

    def knowing(self, calendar: Calendar | None) -> Population:
        """Know what a calendar tells of the days to come, in place of the fit's own; nothing changes with None."""
        return self if calendar is None else replace(self, calendar=calendar)

    def shoulder(self, age: Any) -> Any:
        """Shoulder [days] of what comes after an effective age; infinite where interest fades exponentially."""
        # What comes after a whole day is read off the middles of days.
        return self.grid.shoulder + age + (0.5 if self.grid.clock == grids.DAYS else 0.0)

    def scoring_grid(self) -> Grid:
        """Grid with the same rates and just the restorations that the draws span."""
        low, high = float(self.rho.min()), float(self.rho.max())
        # Over the width of a posterior, mostly below 0.2, five nodes interpolate log E to about 1e-6.
        nodes = (
            np.array([low]) if high - low < 1e-9 else grids.chebyshev_nodes(low, high, 5 if high - low < 0.3 else 10)
        )
        return replace(self.grid, restorations=nodes)

    def designs(self, block: Block) -> tuple[Integers, Floats, Floats]:
        """Distinct designs of a block: each row's design (row,), log weights and log beta (design, sample, rate)."""
        design, mu = self.locations(block)
        log_rates = np.log(self.grid.rates)
        shape = {"alpha": self.alpha[:, None], "kappa": self.kappa[:, None], "sigma_r": self.sigma[:, None]}
        log_weight = grids.log_weights(log_rates, mu[0][..., None], self.sigma[:, None])
        log_beta = grids.log_beta(log_rates, (mu[0][..., None], mu[1][..., None]), shape)
        if self.grid.regular:
            share, shift = self.regulars[..., None]
            regulars = (share, mu[1][..., None], shift)
            log_weight, log_beta = grids.with_regulars(log_weight, log_beta, shape["alpha"], regulars)
        return design, log_weight, log_beta

    def locations(self, block: Block) -> tuple[Integers, Floats]:
        """Distinct designs of a block: each row's (row,), and their mu of log r and of log m (2, design, sample)."""
        keys = np.column_stack([self._group_index(block), self.standard.apply(block)])
        distinct, design = np.unique(keys, axis=0, return_inverse=True)
        group, covariates = distinct[:, 0].astype(np.int64), distinct[:, 1:]
        mu = self.location[:, :, group].transpose(0, 2, 1) + np.einsum("lsp,dp->lds", self.slope, covariates)
        return design.ravel().astype(np.int64), mu

    def new_users(self, mu: Floats, sample: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw decay rates and first interests (row,) [per day] of users with these ``mu`` (2, row), at one draw."""
        z: Floats = np.asarray(rng.standard_normal(mu.shape[1]))
        rate, log_mean = np.exp(mu[0] + self.sigma[sample] * z), mu[1] + self.kappa[sample] * z
        if self.grid.regular:
            share, shift = self.regulars[:, sample]
            regular = rng.random(z.size) < share
            rate = np.where(regular, self.grid.regular, rate)
            log_mean = np.where(regular, mu[1] + shift, log_mean)
        alpha = self.alpha[sample]
        return rate, np.exp(log_mean) * rng.standard_gamma(alpha, size=z.size) / alpha

    def _group_index(self, block: Block) -> Integers:
        if not self.groups:
            return np.zeros(block.n.size, dtype=np.int64)
        if block.group is None:
            raise DataError("history: the fit has groups but the history has none; pass group= to summarize")
        known = {value: i for i, value in enumerate(self.groups)}
        return np.array([known.get(str(value), len(known)) for value in block.group], dtype=np.int64)


REGULARS = ("share_regular", "shift_regular")
_QUANTITIES = ("log_rate", "log_interest")
_PARTS = ("center", "scale")


def _locations(sample: xr.Dataset, quantity: str, grouped: bool) -> Floats:
    """Location (sample, group) of a quantity; an unseen group is drawn from the spread of the groups."""
    mu = sample[f"mu_{quantity}"].to_numpy()[:, None]
    if not grouped:
        return np.asarray(mu)
    by_group = sample[f"group_{quantity}"].to_numpy()
    # A fixed seed: which groups are unseen must not change the scores of the others.
    unseen = mu + sample[f"tau_{quantity}"].to_numpy()[:, None] * np.random.default_rng(0).standard_normal(mu.shape)
    return np.concatenate([by_group, unseen], axis=1)


def loglik_by_row(population: Population, block: Block) -> Floats:
    """Log-likelihood (sample, row) of each row's past at each draw, the user's own interest and rate integrated out."""
    grid = population.scoring_grid()
    part = Statistics.from_block(block, grid)
    design, log_weight, log_beta = population.designs(block)
    found = np.empty((population.size, len(block)))
    for s in range(population.size):
        own = {"alpha": population.alpha[s], "rho": population.rho[s]}
        found[s] = marginal_loglik(part, grid, log_weight[design, s], log_beta[design, s], **own)
    return found


def total_loglik(population: Population, block: Block, weight: Floats, grid: Grid) -> Floats:
    """Weighted sum of the block's log-likelihoods at each draw (sample,), on any grid of rates, in plain numpy."""
    part = Statistics.from_block(block, grid)
    design, log_weight, log_beta = replace(population, grid=grid).designs(block)
    totals = np.empty(population.size)
    for s in range(population.size):
        parameters = {"alpha": population.alpha[s], "rho": population.rho[s]}
        totals[s] = weight @ marginal_loglik(part, grid, log_weight[design, s], log_beta[design, s], **parameters)
    return totals
