r"""What it would be worth to know more before the campaign: perfect information, and a test on n users.

In: draws of P(return) and a :class:`~bayesdecay.decide.campaign.Campaign`. Out: how much higher the expected profit of
the best plan would be. With :math:`V(\theta, x)` the expected profit of plan x if the parameters were :math:`\theta`,

.. math::

    \mathrm{EVPI} = E_\theta\big[\max_x V(\theta, x)\big] - \max_x E_\theta[V(\theta, x)], \qquad
    \mathrm{EVSI}(n) = E_{D_n}\big[\max_x E_{\theta \mid D_n} V(\theta, x)\big] - \max_x E_\theta[V(\theta, x)] .

A test gives half of its n users the offer at random. Its estimate of an assumed effect
:math:`\tau \sim \mathrm{Normal}(\mu, \sigma)` has the variance :math:`s_n^2 = 2/(n q_1) + 2/(n q_0)`, with q the mean
of :math:`p(1-p)` with and without the offer, so that afterwards

.. math::

    \sigma_n^{-2} = \sigma^{-2} + s_n^{-2}, \qquad \tau \mid D_n \sim \mathrm{Normal}(m, \sigma_n), \qquad
    m \sim \mathrm{Normal}\Big(\mu, \sqrt{\sigma^2 - \sigma_n^2}\Big) .

References
----------
Raiffa, H. and Schlaifer, R. (1961). *Applied Statistical Decision Theory*. Harvard University Press.
Ades, A. E., Lu, G. and Claxton, K. (2004). Expected value of sample information calculations in medical decision
modeling. *Med. Decis. Making* 24(2), 207-227. https://doi.org/10.1177/0272989X04263162
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from bayesdecay.decide.assignment import Limits, assign
from bayesdecay.decide.averse import limits_of
from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.effects import Effect
from bayesdecay.decide.prospects import AssumedProspects, Prospects, prospects_of
from bayesdecay.decide.stakes import Stakes, stakes_of
from bayesdecay.errors import unknown_name

__all__ = ["value_of_perfect_information", "value_of_test"]

Floats = NDArray[np.float64]

# Draws whose best plans are found, one assignment each.
_DRAWS = 200
# Draws of P(return) that an effect is averaged over, and effects at which profit is worked out, within five standard
# deviations; between them it is taken as straight.
_OF_P, _NODES, _REACH = 100, 81, 5.0
# Equally probable values of what a test may say, and of what is left open after it.
_RESULTS, _LEFT = 41, 21


def value_of_perfect_information(
    p: Any, campaign: Campaign, *, random_seed: int | np.random.Generator | None = None
) -> pd.Series:
    """Expected value of perfect information: what nobody should pay more than, for whatever study [money].

    Parameters
    ----------
    p, campaign
        As for :func:`~bayesdecay.decide.targeting.choose`.
    random_seed : int or Generator, optional
        Of the effects' draws.

    Returns
    -------
    Series
        ``everything``: to know users' interest, the coefficients and the effects, all but the chance of the single
        outcomes; ``effects``: to know the assumed effects alone (missing where they are measured); and ``plan``, the
        expected profit without knowing more.

    Raises
    ------
    TypeError, ValueError
        As :func:`~bayesdecay.decide.targeting.choose`.

    Notes
    -----
    Of more than 200 draws every so many are used. The value is never negative; with few draws it errs upwards, since
    the best plan in a draw is best for that draw's luck too.
    """
    prospects = prospects_of(p, campaign, np.random.default_rng(random_seed))
    stakes = _open_to_all(prospects, campaign)
    limits = limits_of(stakes)
    kept = np.unique(np.linspace(0, stakes.samples - 1, min(stakes.samples, _DRAWS)).round().astype(int))
    uniform = np.zeros(stakes.samples)
    uniform[kept] = 1.0 / kept.size
    plan = _best(stakes.weighted(uniform), limits)
    known = [_best(stakes.weighted(np.eye(1, stakes.samples, sample)[0]), limits) for sample in kept]
    found = {"plan": plan, "everything": max(float(np.mean(known)) - plan, 0.0)}
    if isinstance(prospects, AssumedProspects):
        found["effects"] = _of_effects(stakes, prospects, limits, kept)
    return pd.Series(found, name="money")


def value_of_test(
    p: Any,
    campaign: Campaign,
    sizes: Sequence[int] = (200, 1_000, 5_000, 20_000),
    *,
    offer: str | None = None,
    random_seed: int | np.random.Generator | None = None,
) -> pd.DataFrame:
    """Expected value of sample information: what a test of one offer's effect on n users would be worth [money].

    Parameters
    ----------
    p, campaign
        As for :func:`~bayesdecay.decide.targeting.choose`, with assumed effects.
    sizes : sequence of int
        Users in the test, half of whom get the offer.
    offer : str, optional
        The offer to test, if there are several.
    random_seed : int or Generator, optional
        Of the other effects' draws.

    Returns
    -------
    DataFrame
        A row a size: ``users``, ``effect_sd`` that is left of the doubt [log-odds], ``value`` of what the test tells,
        ``own_profit``, what its contacts are expected to bring or cost themselves, being given to anybody, and
        ``worth``, the sum of the two. The test is worth making where this is above zero, and best where it is highest.

    Raises
    ------
    ValueError
        If effects are measured and not assumed, the effect claims no doubt, the offer is not named or unknown, or a
        size is below 2.
    TypeError
        As :func:`~bayesdecay.decide.targeting.choose`.

    Notes
    -----
    The campaign is thought to follow the test and to be for the candidates in ``p``, those in the test being others
    like them. It is priced by expected profit: a planner who shuns risk gains more. Of values that are draws the mean
    is taken.
    """
    prospects = prospects_of(p, campaign, np.random.default_rng(random_seed))
    if not isinstance(prospects, AssumedProspects):
        raise ValueError("value_of_test: effects are measured here; it tells what testing an *assumed* effect is worth")
    place, effect = _tested(campaign, offer)
    if any(size < 2 for size in sizes):
        raise ValueError(f"value_of_test: sizes are {list(sizes)}; a test needs at least two users, one in each half")
    stakes = _open_to_all(prospects, campaign)
    limits = limits_of(stakes)
    nodes, profit, variances = _profit_by_effect(stakes, prospects, place, effect)
    prior = _expected(profit, nodes, effect.mean, effect.sd)
    others = stakes.weighted(np.full(stakes.samples, 1.0 / stakes.samples))
    plan = _best(_with(others, place, prior), limits)
    rows = []
    for size in sizes:
        error = (2.0 / size * (1.0 / variances).sum()) ** 0.5
        left = (effect.sd**-2 + error**-2) ** -0.5
        told = effect.mean + np.sqrt(max(effect.sd**2 - left**2, 0.0)) * _quantiles(_RESULTS)
        after = [_best(_with(others, place, _expected(profit, nodes, mean, left)), limits) for mean in told]
        own = size / 2.0 * float(prior.mean())
        value = max(float(np.mean(after)) - plan, 0.0)
        rows.append({"users": size, "effect_sd": left, "value": value, "own_profit": own, "worth": value + own})
    return pd.DataFrame(rows)


def _open_to_all(prospects: Prospects, campaign: Campaign) -> Stakes:
    """What is at stake, users whom the campaign leaves out being closed."""
    return stakes_of(prospects, campaign, campaign.excluded(prospects.users))


def _best(profit: Floats, limits: Limits) -> float:
    """Expected profit of the best plan."""
    pick = assign(profit, limits).pick
    rows = np.flatnonzero(pick >= 0)
    return float(profit[rows, pick[rows]].sum())


def _of_effects(stakes: Stakes, prospects: AssumedProspects, limits: Limits, kept: NDArray[np.int64]) -> float:
    """Value of knowing the assumed effects alone: in each of their draws, P(return) is averaged over its own."""
    few = _few(prospects)
    each = [_means(_if_known(stakes, prospects, few, prospects.tau[:, sample])) for sample in kept]
    return max(float(np.mean([_best(one, limits) for one in each])) - _best(np.mean(each, axis=0), limits), 0.0)


def _few(prospects: AssumedProspects) -> np.ndarray:
    rows = np.unique(np.linspace(0, prospects.samples - 1, min(prospects.samples, _OF_P)).round().astype(int))
    return prospects.p[rows]


def _if_known(stakes: Stakes, prospects: AssumedProspects, p: np.ndarray, tau: Floats) -> Stakes:
    """What would be at stake with these effects (offer,), and some draws of P(return) (sample, user)."""
    told = AssumedProspects(
        p=p, tau=np.repeat(tau[:, None], p.shape[0], axis=1), users=prospects.users, offers=prospects.offers
    )
    return replace(stakes, prospects=told, value=stakes.value.mean(axis=0, keepdims=True))


def _means(stakes: Stakes) -> Floats:
    return stakes.weighted(np.full(stakes.samples, 1.0 / stakes.samples))


def _tested(campaign: Campaign, offer: str | None) -> tuple[int, Effect]:
    """Place and effect of the offer to test."""
    kinds = campaign.kinds
    if offer is None and len(kinds) > 1:
        raise ValueError(f"value_of_test: there are several offers; name the one to test: {', '.join(kinds)}")
    name = next(iter(kinds)) if offer is None else offer
    if name not in kinds:
        raise unknown_name("offer", name, kinds)
    effect = kinds[name].effect
    if effect is None or effect.certain:
        raise ValueError(f"value_of_test: the effect of {name!r} claims no doubt, so no test could tell anything")
    return list(kinds).index(name), effect


def _profit_by_effect(
    stakes: Stakes, prospects: AssumedProspects, place: int, effect: Effect
) -> tuple[Floats, Floats, Floats]:
    """Effects [node], profit [node, user] at each, and the mean of p(1 - p) without and with the offer."""
    nodes = effect.mean + effect.sd * np.linspace(-_REACH, _REACH, _NODES)
    few, offers = _few(prospects), len(prospects.offers)
    found = np.empty((_NODES, stakes.users))
    for node, tau in enumerate(nodes):
        found[node] = _means(_if_known(stakes, prospects, few, np.full(offers, tau)))[:, place]
    typical = _if_known(stakes, prospects, few, np.full(offers, effect.mean)).prospects
    without, under = typical.draws(slice(0, stakes.users), [place])
    chances = np.stack([without.mean(axis=0), under[0].mean(axis=0)]).astype(np.float64)
    return nodes, found, (chances * (1.0 - chances)).mean(axis=1)


def _expected(profit: Floats, nodes: Floats, mean: float, sd: float) -> Floats:
    """Expected profit [user] where the effect is Normal(mean, sd)."""
    at = np.clip(mean + sd * _quantiles(_LEFT), nodes[0], nodes[-1])
    weight = np.zeros(nodes.size)
    low = np.minimum(np.searchsorted(nodes, at, side="right") - 1, nodes.size - 2)
    share = (at - nodes[low]) / (nodes[low + 1] - nodes[low])
    np.add.at(weight, low, 1.0 - share)
    np.add.at(weight, low + 1, share)
    return np.asarray(weight / at.size @ profit)


def _quantiles(n: int) -> Floats:
    """Means of n equally probable slices of a standard normal number."""
    edges = ndtri(np.arange(n + 1) / n)
    density = np.exp(-(edges**2) / 2.0) / np.sqrt(2.0 * np.pi)
    return np.asarray(n * -np.diff(density))


def _with(profit: Floats, place: int, own: Floats) -> Floats:
    """Profits [user, offer] with those of one offer replaced."""
    found = profit.copy()
    found[:, place] = own
    return found
