r"""The reference model: every user's interest and decay rate are variables, as one would draw it on a whiteboard.

In: a :class:`~bayesdecay.data.history.History` of at most 5,000 users. Out: a :class:`ReferenceFit`, whose posterior
holds the population's parameters under the same names as :class:`~bayesdecay.model.decay.DecayModel` and, user by user,
``rate`` and ``initial_interest``. With activities at :math:`0 < t_1 < \dots < t_n \le T` and effective age
:math:`V(t) = t - \rho L(t)`,

.. math::

    z_u &\sim \mathrm{Normal}(0, 1), \qquad \log r_u = \mu_r[g] + x\delta + \sigma_r z_u, \\
    I_u \mid z_u &\sim \mathrm{Gamma}(\alpha, \text{mean } m_u), \qquad \log m_u = \mu_I[g] + x\gamma + \kappa z_u, \\
    \log L_u &= \sum_{j=1}^n \big(\log I_u - r_u (t_j - \rho t_{j-1})\big)
        - \sum_{j=0}^n I_u e^{-r_u (1-\rho) t_j} \int_0^{t_{j+1} - t_j} e^{-r_u s} ds, \qquad t_0 = 0,\; t_{n+1} = T .

Of whole days, with :math:`\Lambda_d = I_u e^{-r_u V(d)}`, it is :math:`\sum_j \log(1 - e^{-\Lambda_{t_j}})` less the
sum of :math:`\Lambda_d` over the silent days; nothing is approximated here, as it is in :mod:`bayesdecay.model.days`.
By a power law all ages V are put through :math:`g(V) = \tau \log(1 + V/\tau)`.

It is for teaching, for checking the marginal model, and as the ground for joint models; the marginal model says the
same and takes a hundredth of the time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from numpy.typing import NDArray

from bayesdecay import curves, names
from bayesdecay.data.history import Block, History
from bayesdecay.errors import unknown_name
from bayesdecay.model.design import FitData
from bayesdecay.model.grid import CLOCKS, DAYS, INSTANTS, clock_of, log_next_day, shoulder_days
from bayesdecay.model.posterior import Verdict, labelled, summary_table, verdict_of
from bayesdecay.model.prior import DECAY_PRIORS, Prior, with_changes
from bayesdecay.model.sampling import Sampling, draw_posterior
from bayesdecay.model.variables import pooled, variable
from bayesdecay.units import Duration

__all__ = ["MOST_USERS", "ReferenceFit", "ReferenceModel"]

# Two variables a user: 5,000 users are 10,000 dimensions, an hour or so of sampling on a laptop.
MOST_USERS = 5_000
# Below this log(1 - e^-x) is log x - x/2 to 1e-13, and stays finite where the interest is less than a float can hold.
_RARE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceModel:
    r"""Description of the reference model; nothing is fitted until :meth:`fit`.

    Parameters
    ----------
    restoration : float, optional
        Part :math:`\rho \in [0, 1]` of lost interest that a visit restores; learned unless given.
    coupling : float, optional
        :math:`\kappa`, how the first interest moves with the decay rate; learned unless given, 0 for none.
    priors : mapping of str to Prior
        Priors that replace the defaults; the same as the marginal model's.
    clock : {"instants", "days"}, optional
        As in :class:`~bayesdecay.model.decay.DecayModel`.
    shoulder : duration, optional
        As in :class:`~bayesdecay.model.decay.DecayModel`.

    Raises
    ------
    ValueError
        If the restoration lies outside [0, 1], the shoulder is not above zero, or a prior's name or the clock is
        unknown.
    """

    restoration: float | None = None
    coupling: float | None = None
    priors: Mapping[str, Prior] = field(default_factory=dict)
    clock: str | None = None
    shoulder: Duration | None = None

    def __post_init__(self) -> None:
        if self.restoration is not None and not 0.0 <= self.restoration <= 1.0:
            raise ValueError(f"restoration must lie in [0, 1], got {self.restoration}")
        if self.clock not in (None, *CLOCKS):
            raise unknown_name("clock", self.clock, CLOCKS)
        shoulder_days(self.shoulder)
        with_changes(DECAY_PRIORS, self.priors)

    def build(self, history: History) -> pm.Model:
        """Build the PyMC model of the population and each of its users; samples nothing.

        Raises
        ------
        ValueError
            If there are more than 5,000 users.
        """
        if len(history) > MOST_USERS:
            raise ValueError(
                f"the reference model takes at most {MOST_USERS:,} users, got {len(history):,}; "
                "fit DecayModel, which has the same posterior, or select fewer users"
            )
        data, clock = FitData.of(history, merged=False), clock_of(history, self.clock)
        priors = with_changes(DECAY_PRIORS, self.priors)
        coords = {names.USER: data.block.user.to_pylist(), names.GROUP: data.groups, "covariate": data.standard.names}
        with pm.Model(coords={name: values for name, values in coords.items() if values}) as model:
            # The population.
            mu_r = _location(priors, "log_rate", "delta", data)
            mu_i = _location(priors, "log_interest", "gamma", data)
            sigma = variable(priors, "sigma_log_rate")
            alpha = variable(priors, "alpha")
            kappa = variable(priors, "kappa", fixed=self.coupling)
            rho = variable(priors, "rho", fixed=self.restoration)
            # Its users. z is non-centred; the interest is not: on simulated users with a dozen activities each that
            # gives three times the effective draws of a share of the mean, and on sparse users as many.
            z = pm.Normal("z", dims=names.USER)
            rate = pm.Deterministic("rate", pt.exp(mu_r + sigma * z), dims=names.USER)
            mean = pt.exp(mu_i + kappa * z)
            initial = pm.Gamma("initial_interest", alpha=alpha, beta=alpha / mean, dims=names.USER)
            # What was seen of them.
            shoulder = shoulder_days(self.shoulder)
            found = log_likelihood(data.block, initial, rate, rho, clock=clock, shoulder=shoulder)
            pm.Potential("loglik", found)
        return model

    def fit(
        self, history: History, *, sampling: Sampling | None = None, random_seed: int | None = None
    ) -> ReferenceFit:
        """Draw the posterior of the population and of every user by NUTS.

        Parameters
        ----------
        history : History
            One row a user; its group and covariates, if any, are the model's.
        sampling : Sampling, optional
            Draws, warm-up, chains, cores; 4 chains unless told.
        random_seed : int, optional
            The same seed gives the same fit on the same machine.

        Raises
        ------
        DataError
            If the history is empty, or a covariate is missing or constant.
        ValueError
            If there are more than 5,000 users.
        """
        tree = draw_posterior(self.build(history), sampling or Sampling(), random_seed=random_seed)
        for name, fixed in (("kappa", self.coupling), ("rho", self.restoration)):
            tree["posterior"][name].attrs["fixed"] = int(fixed is not None)
        for name in ("rate", "initial_interest"):
            tree["posterior"][name].attrs["units"] = "1/d"
        model = {
            "restoration": self.restoration,
            "coupling": self.coupling,
            "priors": {name: asdict(prior) for name, prior in with_changes(DECAY_PRIORS, self.priors).items()},
            "activity": history.activity,
            "clock": clock_of(history, self.clock),
            "shoulder": None if self.shoulder is None else shoulder_days(self.shoulder),
            "at": str(history.at),
            "users": len(history),
        }
        return ReferenceFit(idata=labelled(tree, kind=ReferenceFit.KIND, model=model, verdict=Verdict.of(tree)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceFit:
    """Posterior of the reference model.

    Parameters
    ----------
    idata : xarray.DataTree
        Groups ``posterior`` (chain, draw), the users' quantities with the dimension ``user``, and ``sample_stats``.
    """

    idata: xr.DataTree

    KIND = "reference"

    @property
    def verdict(self) -> Verdict:
        """Whether the sampler converged, judged over the population's parameters and every user's."""
        return verdict_of(self.idata)

    def summary(self, *, ci_prob: float = 0.9, allow_unconverged: bool = False) -> pd.DataFrame:
        """Posterior of the population parameters, a row each, times in days.

        Raises
        ------
        NotConvergedError
            If the fit did not converge and ``allow_unconverged`` is not set; then the table says so in a column.
        """
        self.verdict.require(allow_unconverged=allow_unconverged)
        population = self.idata["posterior"].to_dataset().drop_dims(names.USER)
        return summary_table(xr.DataTree.from_dict({"posterior": population}), self.verdict, ci_prob=ci_prob)

    def _repr_html_(self) -> str:
        table = self.summary(allow_unconverged=True).to_html(float_format="{:.3g}".format)
        return f"<p>Reference fit: {self.verdict}</p>{table}"


def _location(priors: Mapping[str, Prior], quantity: str, slope: str, data: FitData) -> Any:
    """Location (user,) of log r or log m: the population's, its groups', and the covariates' shift."""
    mu = variable(priors, f"mu_{quantity}")
    location = mu
    if data.groups:
        spread = variable(priors, f"tau_{quantity}")
        location = pooled(f"group_{quantity}", mu, spread)[data.design_group[data.design]]
    if data.standard.names:
        shift = variable(priors, slope, dims="covariate")
        location = location + pt.dot(data.design_covariates[data.design], shift)
    return location


def log_likelihood(
    block: Block, initial: Any, rate: Any, rho: Any, *, clock: str = INSTANTS, shoulder: float = curves.EXPONENTIAL
) -> Any:
    r"""Log-likelihood of all users' activities, given each one's initial interest and decay rate (user,) [per day].

    Notes
    -----
    The intensity at each activity, less the integral of the intensity over each gap between activities, the open gap
    up to the cutoff included. Of days: the chance of each active one, and the interest of all others.
    """
    user, start, end = gaps(block)
    ends_in_activity = np.ones(user.size)
    ends_in_activity[block.offsets[1:] + np.arange(len(block))] = 0.0  # the open gap, each user's last
    age = curves.effective_age(end, start, rho)
    log_intensity = pt.log(initial)[user] - rate[user] * curves.aged(age, shoulder, xp=pt)
    if clock == DAYS and not math.isinf(shoulder):
        expected = _each_day(block, initial, rate, rho, shoulder)
    else:
        restored = curves.effective_age(start, start, rho)
        interest = curves.interest_after(initial[user], rate[user], restored, shoulder, xp=pt)
        local = (curves.rate_after(rate[user], restored, shoulder), end - start)
        expected = interest * curves.decayed_time(*local, curves.shoulder_after(restored, shoulder), xp=pt)
    if clock == DAYS:
        if math.isinf(shoulder):
            expected = expected * pt.exp(log_next_day(rate, clock, xp=pt))[user]
        of_day = pt.exp(log_intensity)
        chance = pt.switch(of_day < _RARE, log_intensity - 0.5 * of_day, pt.log(-pt.expm1(-of_day)))
        return pt.sum(ends_in_activity * (chance + of_day)) - pt.sum(expected)
    return pt.sum(ends_in_activity * log_intensity) - pt.sum(expected)


def _each_day(block: Block, initial: Any, rate: Any, rho: Any, shoulder: float) -> Any:
    """Interest on each day after the acquisition, of all users one after the other."""
    user, start, end = gaps(block)
    lengths = np.rint(end - start).astype(np.int64)
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    since = np.arange(lengths.sum()) - first + 1.0
    day, last, own = np.repeat(start, lengths) + since, np.repeat(start, lengths), np.repeat(user, lengths)
    return curves.interest_after(initial[own], rate[own], curves.effective_age(day, last, rho), shoulder, xp=pt)


def gaps(block: Block) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Every user's silent stretches one after the other: the user's row, start and end [days since acquisition]."""
    user = np.repeat(np.arange(len(block)), block.n + 1)
    start = np.insert(block.times, block.offsets[:-1], 0.0)
    end = np.insert(block.times, block.offsets[1:], block.T)
    return user, start, end
