r"""Where the doubt about a user's return comes from: interest, missing features, coefficients, chance.

In: a fit of the reactivation model, snapshots, a decay fit. Out: for each user the variance of the outcome
:math:`y \in \{0, 1\}`, parted by the law of total variance, and how much wider an honest interval of P is than one that
takes interest as known. With :math:`\ell` the interest, :math:`\xi` what is missing, :math:`\theta` the coefficients,

.. math:: \operatorname{Var}(y) = \bar p (1 - \bar p) = \underbrace{E[p (1-p)]}_{\text{chance}} +
    \underbrace{\operatorname{Var}\big(p(\ell, \xi, \theta)\big)}_{\text{what could be known}}, \qquad \bar p = E[p].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from bayesdecay import names
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.coefficients import Coefficients
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.interest_slices import CHANCES, log_expected_interest
from bayesdecay.model.latent_interest import log_interest_draws
from bayesdecay.model.matrices import Design
from bayesdecay.model.paired import shared_interest_of
from bayesdecay.model.population import Population
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.model.shared_interest import SharedInterest

__all__ = ["SOURCES", "VARIANCE", "DrawOptions", "interval_widening", "share_of", "variance_shares"]

Floats = NDArray[np.float64]

VARIANCE = "variance"
SOURCES = ("interest", "missing features", "coefficients", "chance")
_KNOWABLE = SOURCES[:-1]
# Values of what is missing, 31 equally probable ones. Up to an sd of 2 on the logit they give the mean of P to 0.002,
# and its sd to 4 %, or to 9 % where P is about 0.02 (15 values: 0.004 and 13 %).
_NODES = norm.ppf((np.arange(31) + 0.5) / 31)
_NODES /= _NODES.std()
# Users whose interest is drawn at a time, and numbers of the crossed design at a time (32 MB an array).
_USERS, _NUMBERS = 4_000, 4_000_000
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawOptions:
    """How many draws a statement rests on, and how wide its interval is.

    Parameters
    ----------
    draws : int
        Draws of each posterior, at most.
    ci_prob : float
        Probability of the equal-tailed intervals.
    random_seed : int, optional
        The same seed gives the same numbers.
    allow_unconverged : bool
        Go on although a fit did not converge.

    Raises
    ------
    ValueError
        If there is no draw, or ``ci_prob`` is not inside (0, 1).
    """

    draws: int = 200
    ci_prob: float = 0.9
    random_seed: int | None = None
    allow_unconverged: bool = False

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, got {self.draws}")
        if not 0.0 < self.ci_prob < 1.0:
            raise ValueError(f"ci_prob must lie between 0 and 1, got {self.ci_prob}")

    @property
    def tails(self) -> tuple[float, float]:
        """Probabilities of the two ends of an interval."""
        return (1.0 - self.ci_prob) / 2.0, (1.0 + self.ci_prob) / 2.0

    @property
    def asked(self) -> dict[str, Any]:
        """The arguments that ``ReactivationFit.draws`` and its like take."""
        return {"draws": self.draws, "random_seed": self.random_seed, "allow_unconverged": self.allow_unconverged}


def share_of(source: str) -> str:
    """Name of the column with a source's share of the variance."""
    return f"share_{source.replace(' ', '_')}"


def variance_shares(
    fit: ReactivationFit,
    snapshots: Snapshots,
    decay: DecayFit,
    *,
    interest: str | None = None,
    options: DrawOptions | None = None,
) -> pd.DataFrame:
    r"""Part the variance of each user's outcome by where it comes from.

    Parameters
    ----------
    interest : {"uncertain", "plugin"}, optional
        Whether interest is unknown or taken as its mean; as in the fit unless told.
    options : DrawOptions, optional
        ``draws`` is the number of draws of interest and of the coefficients, each of which meets each of the other.

    Returns
    -------
    DataFrame
        A row a user: ``user``, ``p_reactivation`` with ``_lower`` and ``_upper``, ``variance`` of the outcome,
        :math:`\bar p (1-\bar p)`, and ``share_interest``, ``share_missing_features``, ``share_coefficients``,
        ``share_chance`` of it, which sum to 1.

    Raises
    ------
    ValueError
        If the snapshots have several cutoffs.
    NotConvergedError
        If a fit did not converge and ``options`` do not allow it.

    Notes
    -----
    Chance is what would be left if everything else were known, :math:`E[p(1-p)]`. The share of each other source is the
    variance of p that goes away when this one gets known, averaged over all orders in which the three could get known
    (its Shapley effect), since p is not a sum of them. What a group is like that the fit has not seen, the intercepts
    of single users, and what the interests of all users have in common belong to the coefficients. The shares are a
    single user's: over many users chance averages out, the coefficients do not.

    References
    ----------
    Song, E., Nelson, B. L. and Staum, J. (2016). Shapley effects for global sensitivity analysis. *SIAM/ASA Journal on
    Uncertainty Quantification* 4(1), 1060-1083. https://doi.org/10.1137/15M1048070
    """
    told = options or DrawOptions()
    plugin = (interest or fit.description["interest"]) == "plugin"
    fit.verdict.require(allow_unconverged=told.allow_unconverged)
    population = decay.population(allow_unconverged=told.allow_unconverged)
    shared = shared_interest_of(fit.idata)
    shared = None if plugin or shared is None or not shared.is_of(population) else shared
    coefficients = Coefficients.of(fit.idata, fit.terms, told.draws)
    rng = np.random.default_rng(told.random_seed)
    parts, start = [_shares(np.empty((0, 1, 1, 1)), told)], 0
    for some in _blocks(snapshots):
        level = _own_interest(population, shared, some, told.draws, None if plugin else int(rng.integers(2**63)))
        moves = None if shared is None else shared.levels(population, some)[1] @ CHANCES[:, None]
        design = coefficients.terms.design(some.table, level, moves=moves)
        parts += [_shares(p, told).set_index(start + rows) for rows, p in _crossed(coefficients, design, rng)]
        start += len(some)
    found = pd.concat(parts).sort_index()
    found.insert(0, names.USER, snapshots.table[names.USER].to_numpy())
    found.attrs |= {names.CI_PROB: told.ci_prob, names.HORIZON: fit.horizon}
    return found


def interval_widening(
    fit: ReactivationFit, snapshots: Snapshots, decay: DecayFit, *, options: DrawOptions | None = None
) -> pd.DataFrame:
    """Tell how many times wider users' intervals of P are than if their interest were known to be its mean.

    Returns
    -------
    DataFrame
        ``quantile`` over the users (0.5 is the median) and ``times_wider``.

    Raises
    ------
    ValueError, NotConvergedError
        As :func:`variance_shares`.

    Notes
    -----
    Both use the coefficients of this fit. A user whose interval has no width with interest as known is left out.
    """
    told = options or DrawOptions()
    ratios = [np.empty(0)]
    for some in _blocks(snapshots):
        honest, plugin = (
            fit.draws(some, decay, interest=way, **told.asked).quantile(told.tails, names.SAMPLE).diff("quantile")[0]
            for way in ("uncertain", "plugin")
        )
        some_width = plugin.to_numpy() > 0
        ratios.append(honest.to_numpy()[some_width] / plugin.to_numpy()[some_width])
    wider = np.concatenate(ratios)
    at = np.quantile(wider, _QUANTILES) if wider.size else np.full(len(_QUANTILES), np.nan)
    return pd.DataFrame({"quantile": _QUANTILES, "times_wider": at})


def _blocks(snapshots: Snapshots) -> Iterator[Snapshots]:
    """Go through the users some at a time."""
    users = snapshots.table[names.USER]
    for start in range(0, len(snapshots), _USERS):
        yield snapshots.of_users(users.iloc[start : start + _USERS])


def _own_interest(
    population: Population, shared: SharedInterest | None, some: Snapshots, draws: int, seed: int | None
) -> Floats:
    """Log interest (row, draw) of each user, what all of them share left aside if it is known; as known if no seed."""
    if shared is None:
        some_draws = np.linspace(0, population.size - 1, min(draws, population.size)).round().astype(int)
        population = population.take(some_draws)
    else:
        population = shared.centre(population).take(np.zeros(draws, dtype=int))
    histories = some.histories.values()
    return (
        log_expected_interest(population, histories)
        if seed is None
        else log_interest_draws(population, histories, seed)
    )


def _crossed(
    coefficients: Coefficients, design: Design, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Some rows at a time, and their P (row, coefficients, interest, missing): each draw with each of the others."""
    known = replace(design, pattern=np.zeros_like(design.pattern), level=np.zeros((len(design.x), 1)))
    logit, slope = coefficients.logit(known, rng), coefficients.interest
    if design.moves.shape[1]:
        logit = logit + slope * (design.moves[:, :, 0] @ coefficients.shared.T)
    spread, gone = coefficients.spread(design), design.pattern > 0
    for some, nodes in ((np.flatnonzero(~gone), np.zeros(1)), (np.flatnonzero(gone), _NODES)):
        step = max(_NUMBERS // (coefficients.size * design.level.shape[1] * nodes.size), 1)
        for start in range(0, some.size, step):
            rows = some[start : start + step]
            without = logit[rows, :, None, None] + spread[rows, :, None, None] * nodes
            yield rows, expit(without + slope[:, None, None] * design.level[rows, None, :, None])


def _shares(p: Floats, told: DrawOptions) -> pd.DataFrame:
    """Mean, interval, variance and shares, of P (row, coefficients, interest, missing)."""
    lower, upper = np.quantile(p.reshape(len(p), math.prod(p.shape[1:])), told.tails, axis=1)
    mean = p.mean(axis=(1, 2, 3))
    variance = mean * (1.0 - mean)
    parts = _effects(p) | {"chance": (p * (1.0 - p)).mean(axis=(1, 2, 3))}
    # Where the outcome is certain there is no doubt to share out.
    shares = {
        share_of(source): np.divide(parts[source], variance, out=np.zeros_like(variance), where=variance > 0)
        for source in SOURCES
    }
    columns = dict(zip((names.P_REACTIVATION, *names.bounds(names.P_REACTIVATION)), (mean, lower, upper), strict=True))
    return pd.DataFrame({**columns, VARIANCE: variance, **shares})


def _effects(p: Floats) -> dict[str, Floats]:
    """Shapley effect (row,) on the variance of p of each thing that could be known."""
    axes = {"coefficients": 1, "interest": 2, "missing features": 3}
    explained = {
        known: _explained(p, [axis for source, axis in axes.items() if source not in known])
        for size in range(len(_KNOWABLE) + 1)
        for known in map(frozenset, itertools.combinations(_KNOWABLE, size))
    }
    found = {}
    for source in _KNOWABLE:
        others = [known for known in explained if source not in known]
        # So many of the orders have just these known before the source.
        weight = [1 / (len(_KNOWABLE) * math.comb(len(_KNOWABLE) - 1, len(known))) for known in others]
        gains = [explained[known | {source}] - explained[known] for known in others]
        found[source] = sum((w * gain for w, gain in zip(weight, gains, strict=True)), np.zeros(len(p)))
    return found


def _explained(p: Floats, unknown: list[int]) -> Floats:
    """Variance (row,) of the mean of p over the unknown axes."""
    # One axis after the other: a mean over one value is that value, and a source that is certain has a share of 0.
    for axis in reversed(unknown):
        p = p.mean(axis=axis, keepdims=True)
    return np.asarray(p.var(axis=(1, 2, 3)))
