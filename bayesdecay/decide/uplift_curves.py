r"""Uplift curves: how much of an arm's effect is had by giving it only to those with the highest scores.

In: an experiment and a score of each user, any number of which more means more worth the arm. Out: the gain per user
of the whole list if a share :math:`q` from the top were given the arm, and the Qini coefficient, the area between that
curve and the straight line that a random order would give. With the effect scores
:math:`\Gamma_i = \psi_{i,\text{arm}} - \psi_{i,\text{control}}` of :mod:`bayesdecay.decide.arm_scores`,

.. math:: G(q) = \frac1n \sum_{i \text{ in the top } q} \Gamma_i, \qquad
          \mathrm{Qini} = \int_0^1 \big(G(q) - q\,G(1)\big)\,dq = \frac1n \sum_i \Gamma_i\,(\tfrac12 - p_i),

:math:`p_i` being the user's place from the top as a share of the users, counted to the middle of those with the same
score. Users with the same score are given the arm in random order; the curve is the mean over these orders, a straight
line.

References
----------
Radcliffe, N. J. (2007). Using control groups to target on predicted lift: building and assessing uplift models.
*Direct Marketing Analytics Journal*, 14-21.
Yadlowsky, S., Fleming, S., Shah, N., Brunskill, E. and Wager, S. (2025). Evaluating treatment prioritization rules via
rank-weighted average treatment effects. *JASA* 120(549), 38-51. https://doi.org/10.1080/01621459.2024.2393466
"""

from __future__ import annotations

import html
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from bayesdecay.data.experiment import Experiment
from bayesdecay.decide.arm_scores import effect_scores
from bayesdecay.decide.risk import check_share
from bayesdecay.names import LOWER, SHARE, UPLIFT, UPPER, bounds

__all__ = ["UpliftCurve", "uplift_curve"]

Floats = NDArray[np.float64]

GAIN, RANDOM = "gain", "random"
# Steps of one percent, as planners speak of shares.
_STEPS = 100
# The uplift at the border of the top is that of the users within 5 % of all around it. It enters only the small part
# of the variance that comes from not knowing where the border is.
_AROUND = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UpliftCurve:
    """What a score is worth as an order in which to give an arm.

    Attributes
    ----------
    table : DataFrame
        A row a share of the users from the top, from 0 to 1 in steps of 0.01: ``share``; ``gain``, the incremental
        outcome per user of the whole list if they are given the arm; ``uplift``, the mean effect on them, which is
        gain / share; each with ``_se``, ``_lower`` and ``_upper``; ``random``, the gain of a random order, and
        ``random_lower``, ``random_upper``, between which the gain of a score without any worth lies at that share.
    coefficient : Series
        ``qini`` with ``_se``, ``_lower``, ``_upper``: the area between the gain and the straight line to its end, per
        user [unit of the outcome]. ``random_se`` is its standard deviation over random orders, ``p_value`` the chance
        that such an order strays as far from 0.
    arm : hashable
        The arm, against the control.
    outcome : str
        What is counted.
    ci_prob : float
        Probability of the intervals, each for its own share alone.
    causal : bool
        Whether the gains are what the arm does; False where nobody drew lots.
    caveat : str
        What has to be said with the numbers; empty if lots were drawn.
    """

    table: pd.DataFrame
    coefficient: pd.Series
    arm: Hashable
    outcome: str
    ci_prob: float
    causal: bool
    caveat: str

    def at(self, share: float) -> pd.Series:
        """Take the row of a share of the users; between two steps it lies on a straight line.

        Raises
        ------
        TypeError, ValueError
            If the share is no number in (0, 1).
        """
        place = check_share(share, "share")
        shares = self.table[SHARE].to_numpy()
        return pd.Series({name: np.interp(place, shares, self.table[name].to_numpy()) for name in self.table.columns})

    @property
    def statement(self) -> str:
        """What the score is worth, in plain words."""
        qini, (lower, upper) = self.coefficient["qini"], self.coefficient[list(bounds("qini"))]
        better = "better than" if lower > 0 else "worse than" if upper < 0 else "not told apart from"
        return (
            f"As an order for {self.arm!r} the score is {better} chance: Qini coefficient {1e4 * qini:.1f} "
            f"[{1e4 * lower:.1f}, {1e4 * upper:.1f}] in 10,000ths of {self.outcome} per user ({self.ci_prob:.0%} "
            f"interval). {self.caveat}"
        ).strip()

    def __str__(self) -> str:
        """Say it in plain words."""
        return self.statement

    def _repr_html_(self) -> str:
        rows = self.table.iloc[:: _STEPS // 10]
        return f"<p>{html.escape(self.statement)}</p>{rows.to_html(index=False, float_format='{:,.4f}'.format)}"


def uplift_curve(
    experiment: Experiment,
    score: Any,
    *,
    outcome: str,
    arm: Hashable,
    ci_prob: float = 0.9,
    predictions: Any = None,
) -> UpliftCurve:
    r"""Judge a score as an order in which to give an arm.

    Parameters
    ----------
    experiment : Experiment
        Users that the score was not learnt from.
    score : Series or array
        Of each user, with the users as index or in the order of the experiment. Only its order counts.
    outcome : str
        What is counted.
    arm : hashable
        The arm to give; users of other arms help to say who is in the top.
    ci_prob : float
        Probability of the intervals.
    predictions : DataFrame or array (user, arm), optional
        Predicted mean outcomes by a model that has not seen these users: the curve becomes doubly robust, with
        narrower bands if they are good. Unless told, the mean outcome of each arm.

    Returns
    -------
    UpliftCurve

    Raises
    ------
    ValueError
        If there is no such arm or outcome, the arm is the control, or a user has no score.

    Notes
    -----
    Standard errors are those of the linear parts,

    .. math:: h_i(q) = 1\{i \text{ in the top } q\}\,(\Gamma_i - \tau_q) + q\,\tau_q, \qquad
              h_i = \Gamma_i\,(\tfrac12 - p_i) + G(p_i),

    with :math:`\tau_q` the uplift at the border of the top; the second terms are there because other users would
    put that border elsewhere. A random order has mean :math:`q\,G(1)` and, drawn without replacement, variance
    :math:`q (1 - q) S^2 / n` with :math:`S^2` the variance of :math:`\Gamma`. No bootstrap is needed. All intervals are
    normal: of spend that is zero for 99 % of the users, those of a share with some five buyers held the truth in 80 %
    of simulated experiments where 90 % was said, those with 25 buyers in 88 %.

    Radcliffe's curve, :math:`Y_t(q)/N_t - Y_c(q)/N_t \cdot N_t(q)/N_c(q)`, differs from this one by chance alone:
    by how unevenly the arms fell into the top. Programs that count increments among the treated but divide by the users
    of both arms show a Qini coefficient of this one times the treated's share of them: a half, in equal arms.
    """
    check_share(ci_prob, "ci_prob")
    place = treated(experiment, arm)
    effect = effect_scores(experiment, experiment.outcome(outcome), place, predictions)
    ranked = _Ranked.of(finite(experiment, score, "score"), effect)
    half = float(ndtri(0.5 + ci_prob / 2))
    return UpliftCurve(
        table=_table(ranked, half),
        coefficient=_coefficient(ranked, half),
        arm=arm,
        outcome=outcome,
        ci_prob=ci_prob,
        causal=experiment.causal,
        caveat=experiment.caveat,
    )


def treated(experiment: Experiment, arm: Hashable) -> int:
    """Place of an arm that is not the control."""
    place = experiment.place(arm)
    if not place:
        raise ValueError(f"{arm!r} is the control; name an arm whose effect is judged: {experiment.arms[1:]}")
    return place


def finite(experiment: Experiment, values: Any, what: str) -> Floats:
    """Read a number a user, float64[user]."""
    found = np.asarray(experiment.aligned(values, what), dtype=float)
    wrong = np.flatnonzero(~np.isfinite(found.reshape(len(experiment), -1)).all(axis=1))
    if found.ndim != 1:
        raise ValueError(f"{what} has the shape {found.shape}; give one number a user")
    if wrong.size:
        raise ValueError(f"{what} is missing or infinite for {wrong.size:,} users (the first is row {wrong[0]})")
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ranked:
    """Effect scores from the highest score down, in blocks of users with the same score.

    ``before`` counts the users above each block, and in the end all; ``total`` and ``squares`` sum their effect scores
    and their squares. ``effect`` and ``middle``, the place as a share, are those of the single users.
    """

    before: Floats
    total: Floats
    squares: Floats
    effect: Floats
    middle: Floats

    @classmethod
    def of(cls, score: Floats, effect: Floats) -> _Ranked:
        values, block, sizes = np.unique(-score, return_inverse=True, return_counts=True)
        before = np.concatenate([[0.0], np.cumsum(sizes)])
        total, squares = (
            np.concatenate([[0.0], np.cumsum(np.bincount(block, weights=w, minlength=values.size))])
            for w in (effect, effect**2)
        )
        middle = (before[:-1] + sizes / 2)[block] / score.size
        return cls(before=before, total=total, squares=squares, effect=effect, middle=middle)

    def gain(self, share: Floats) -> Floats:
        """Curve of the gain, straight within a block, float64[share]."""
        n = self.effect.size
        return np.asarray(np.interp(share * n, self.before, self.total) / n)

    def gain_se(self, share: Floats) -> Floats:
        """Standard error of the gain, float64[share]."""
        n, last = self.effect.size, self.before.size - 2
        block = np.clip(np.searchsorted(self.before, share * n, side="right") - 1, 0, last)
        sizes = np.diff(self.before)[block]
        part = (share * n - self.before[block]) / sizes
        around = np.clip([share - _AROUND, share + _AROUND], 0, 1)
        border = np.diff([self.gain(side) for side in around], axis=0)[0] / np.diff(around, axis=0)[0]

        def about_border(users: Floats, total: Floats, squares: Floats) -> Floats:
            return np.asarray(squares - 2 * border * total + border**2 * users)

        above = about_border(self.before[block], self.total[block], self.squares[block])
        # In the block at the border every user counts in part.
        within = about_border(sizes, np.diff(self.total)[block], np.diff(self.squares)[block])
        mean = self.gain(share) - border * share
        variance = (above + part**2 * within) / n - mean**2
        return np.sqrt(np.maximum(variance, 0.0) / n)


def _table(ranked: _Ranked, half: float) -> pd.DataFrame:
    share = np.linspace(0, 1, _STEPS + 1)
    gain, se, n = ranked.gain(share), ranked.gain_se(share), ranked.effect.size
    table = pd.DataFrame({SHARE: share})
    # At a share of 0 nobody is given anything; the uplift of nobody is that of the first user.
    divisor = np.maximum(share, 1 / n)
    for name, values, error in (
        (GAIN, gain, se),
        (UPLIFT, ranked.gain(divisor) / divisor, ranked.gain_se(divisor) / divisor),
    ):
        lower, upper = bounds(name)
        columns = {name: values, f"{name}_se": error, lower: values - half * error, upper: values + half * error}
        table = table.assign(**columns)
    middle = share * gain[-1]
    spread = half * np.sqrt(share * (1 - share) * ranked.effect.var(ddof=1) / n)
    return table.assign(**{RANDOM: middle, f"{RANDOM}_{LOWER}": middle - spread, f"{RANDOM}_{UPPER}": middle + spread})


def _coefficient(ranked: _Ranked, half: float) -> pd.Series:
    n, weight = ranked.effect.size, 0.5 - ranked.middle
    qini = float((ranked.effect * weight).mean())
    linear = ranked.effect * weight + ranked.gain(ranked.middle)
    se = float(linear.std(ddof=1) / np.sqrt(n))
    random_se = float(np.sqrt(ranked.effect.var(ddof=1) * (weight**2).sum()) / n)
    # One score for all is no order at all.
    p = 2 * float(ndtr(-abs(qini) / random_se)) if random_se > 0 else 1.0
    lower, upper = bounds("qini")
    return pd.Series(
        {
            "qini": qini,
            "qini_se": se,
            lower: qini - half * se,
            upper: qini + half * se,
            "random_se": random_se,
            "p_value": p,
        }
    )
