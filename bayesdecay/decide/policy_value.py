r"""What a policy would have brought, judged on an experiment that gave the arms by other rules.

In: an experiment and a policy: the arm :math:`a` for each user, or the probabilities :math:`\pi_a(x)` of the arms.
Out: its value per user by three estimators, each with a standard error, and its differences to giving nobody anything
and to giving everybody the best single arm. With the propensities :math:`e`, :math:`w_i = \pi_{A_i}(x_i) /
e_{A_i}(x_i)` and the worth :math:`v`,

.. math::

    \text{inverse propensity} &: \tfrac1n \textstyle\sum_i w_i v y_i \\
    \text{self-normalised}    &: \textstyle\sum_i w_i v y_i / \sum_i w_i \\
    \text{doubly robust}      &: \tfrac1n \textstyle\sum_i \big[\sum_a \pi_a(x_i) m_a(x_i)
                                 + w_i (v y_i - m_{A_i}(x_i))\big]

each less the mean cost :math:`\frac1n \sum_i \sum_a \pi_a(x_i) c_a`, which is known and so not estimated by weights.

References
----------
Horvitz, D. G. and Thompson, D. J. (1952). A generalization of sampling without replacement from a finite universe.
*JASA* 47(260), 663-685. https://doi.org/10.1080/01621459.1952.10483446
Hájek, J. (1971). Comment on "An essay on the logical foundations of survey sampling, part one" by D. Basu. In
*Foundations of Statistical Inference*, Holt, Rinehart and Winston, 236.
Dudík, M., Erhan, D., Langford, J. and Li, L. (2014). Doubly robust policy evaluation and optimization. *Statistical
Science* 29(4), 485-511. https://doi.org/10.1214/14-STS500
"""

from __future__ import annotations

import html
import numbers
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from bayesdecay.data.balance import effective_size
from bayesdecay.data.experiment import Experiment
from bayesdecay.decide.arm_scores import arm_scores, by_arm, cross_fitted, given_predictions, weights
from bayesdecay.decide.risk import check_share
from bayesdecay.errors import unknown_name
from bayesdecay.names import bounds

__all__ = ["METHODS", "PolicyValue", "policy_value"]

Floats = NDArray[np.float64]

INVERSE_PROPENSITY, SELF_NORMALISED, DOUBLY_ROBUST = METHODS = (
    "inverse propensity",
    "self-normalised",
    "doubly robust",
)
VALUE, OVER_NOBODY, OVER_BEST_ARM = "value", "over_nobody", "over_best_arm"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicyValue:
    """The value of a policy, judged on an experiment.

    Attributes
    ----------
    table : DataFrame
        A row a method. ``value`` per user, ``over_nobody`` and ``over_best_arm``, the differences to giving nobody
        anything and to the best single arm, user by user [unit of outcome times value], each with ``_se``,
        ``_lower`` and ``_upper``.
    arms : DataFrame
        The same for everybody given one arm, doubly robust, a row an arm.
    best_arm : hashable
        The single arm (the control among them) with the highest doubly robust value, less its cost.
    outcome : str
        What is counted.
    users : int
        Users of the experiment.
    effective_users : float
        How many users, all weighted alike, would tell as much (Kish); few, where the experiment seldom did what the
        policy does.
    ci_prob : float
        Probability of the intervals.
    causal : bool
        Whether the values are what the policy would bring; False where nobody drew lots.
    caveat : str
        What has to be said with the numbers; empty if lots were drawn.
    """

    table: pd.DataFrame
    arms: pd.DataFrame
    best_arm: Hashable
    outcome: str
    users: int
    effective_users: float
    ci_prob: float
    causal: bool
    caveat: str

    @property
    def statement(self) -> str:
        """The doubly robust value in plain words."""
        row = self.table.loc[DOUBLY_ROBUST]
        said = {name: _said(row, name) for name in (VALUE, OVER_NOBODY, OVER_BEST_ARM)}
        would = "would bring" if self.causal else "goes with"
        return (
            f"The policy {would} {said[VALUE]} of {self.outcome} per user ({self.ci_prob:.0%} interval), "
            f"{said[OVER_NOBODY]} over giving nobody anything and {said[OVER_BEST_ARM]} over giving everybody "
            f"{self.best_arm!r}. {self.caveat}"
        ).strip()

    def __str__(self) -> str:
        """Say it in plain words."""
        return self.statement

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.statement)}</p>{self.table.to_html(float_format='{:,.4f}'.format)}"


def policy_value(
    experiment: Experiment,
    policy: Any,
    *,
    outcome: str,
    cost: float | Mapping[Hashable, float] | None = None,
    value: float = 1.0,
    ci_prob: float = 0.9,
    predictions: Any = None,
    random_seed: int | None = 0,
) -> PolicyValue:
    """Estimate what a policy would have brought per user.

    Parameters
    ----------
    experiment : Experiment
        Users that the policy was not learnt from: on its own users a policy looks better than it is.
    policy : arm, Series, array or DataFrame
        One arm for everybody; the arm of each user, with the users as index or in the order of the experiment; or
        probabilities, a column an arm.
    outcome : str
        What is counted.
    cost : float or mapping of arm to float, optional
        Cost of giving an arm to a user [money]; one number is that of every arm but the control. The cost is paid
        whatever comes of it.
    value : float
        Worth of one unit of the outcome [money].
    ci_prob : float
        Probability of the intervals.
    predictions : DataFrame or array (user, arm), optional
        Predicted mean outcome of each user under each arm, by a model that has not seen these users. Unless told, by
        ridge regressions on the features, each learnt from other users.
    random_seed : int, optional
        Deals the users into parts for these regressions.

    Returns
    -------
    PolicyValue

    Raises
    ------
    TypeError, ValueError
        If the policy names an unknown arm, is no distribution, or has no row for a user.

    Notes
    -----
    Standard errors are those of a mean of one number a user (for the self-normalised value, of its linear part), and
    take the propensities as known. With observed shares they are a little too large for the first method.
    The best single arm is chosen on the same users, which lets it look a little better than it is; the difference to
    it errs on the careful side.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayesdecay.data.experiment_table import read_experiment
    >>> frame = pd.DataFrame({"sent": ["none", "mail"] * 4, "bought": [0, 1, 0, 1, 1, 0, 0, 1]})
    >>> trial = read_experiment(frame, arm="sent", control="none", outcomes=["bought"])
    >>> judged = policy_value(trial, "mail", outcome="bought", cost=0.1)
    >>> judged.table["value"].round(3).tolist()[:2]
    [0.65, 0.65]
    """
    check_share(ci_prob, "ci_prob")
    worth, costs = experiment.outcome(outcome) * _number(value, "value"), _costs(cost, experiment)
    chosen = _probabilities(experiment, policy)
    guess = (
        cross_fitted(experiment, worth, random_seed)
        if predictions is None
        else given_predictions(experiment, predictions) * value
    )
    scores = arm_scores(experiment, worth, guess)
    each = scores - costs
    best = int(each.mean(axis=0).argmax())
    only = np.eye(len(experiment.arms))
    # One number a user whose mean is the value, by method and by policy.
    parts = {
        name: [_parts(name, experiment, worth, scores, pi) - pi @ costs for pi in (chosen, only[[0]], only[[best]])]
        for name in METHODS
    }
    weight = (weights(experiment) * chosen).sum(axis=1)
    return PolicyValue(
        table=pd.DataFrame(
            {name: _row(own, nobody, top, ci_prob) for name, (own, nobody, top) in parts.items()}
        ).T.rename_axis("method"),
        arms=pd.DataFrame(
            {arm: _row(each[:, a], each[:, 0], each[:, best], ci_prob) for a, arm in enumerate(experiment.arms)}
        ).T.rename_axis("arm"),
        best_arm=experiment.arms[best],
        outcome=outcome,
        users=len(experiment),
        effective_users=effective_size(weight),
        ci_prob=ci_prob,
        causal=experiment.causal,
        caveat=experiment.caveat,
    )


def _parts(method: str, experiment: Experiment, worth: Floats, scores: Floats, policy: Floats) -> Floats:
    """One number a user whose mean is the value before costs, and whose scatter is that of the value."""
    if method == DOUBLY_ROBUST:
        return np.asarray((policy * scores).sum(axis=1))
    weight = (weights(experiment) * policy).sum(axis=1)
    if method == INVERSE_PROPENSITY:
        return np.asarray(weight * worth)
    if not weight.any():
        raise ValueError("policy: the experiment never did what it does, for any user; nothing can be said of it")
    mean = weight @ worth / weight.sum()
    # The linear part of a ratio of means.
    return np.asarray(mean + weight * (worth - mean) / weight.mean())


def _row(policy: Floats, nobody: Floats, best: Floats, ci_prob: float) -> dict[str, float]:
    row: dict[str, float] = {}
    compared = {VALUE: policy, OVER_NOBODY: policy - nobody, OVER_BEST_ARM: policy - best}
    half = float(ndtri(0.5 + ci_prob / 2))
    for name, values in compared.items():
        middle, se = float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))
        row |= {name: middle, f"{name}_se": se}
        row |= dict(zip(bounds(name), (middle - half * se, middle + half * se), strict=True))
    return row


def _said(row: pd.Series, name: str) -> str:
    lower, upper = bounds(name)
    return f"{row[name]:.4g} [{row[lower]:.4g}, {row[upper]:.4g}]"


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not np.isfinite(float(value)):
        raise TypeError(f"policy: {name} is {value!r}; give a finite number")
    return float(value)


def _costs(cost: float | Mapping[Hashable, float] | None, experiment: Experiment) -> Floats:
    """Cost of each arm, float64[arm]; an arm that a mapping does not name is free."""
    if cost is None:
        return np.zeros(len(experiment.arms))
    if not isinstance(cost, Mapping):
        return np.array([0.0] + [_number(cost, "cost")] * (len(experiment.arms) - 1))
    for arm in cost:
        experiment.place(arm)
    return np.array([_number(cost.get(arm, 0.0), f"cost of {arm!r}") for arm in experiment.arms])


def _probabilities(experiment: Experiment, policy: Any) -> Floats:
    """Probability with which the policy gives each arm, float64[user, arm]."""
    arms = len(experiment.arms)
    if isinstance(policy, str) or np.ndim(policy) == 0:
        return np.tile(np.eye(arms)[experiment.place(policy)], (len(experiment), 1))
    if np.ndim(policy) == 1:
        told = experiment.aligned(policy, "policy")
        places = pd.Index(experiment.arms).get_indexer(told)
        if (places < 0).any():
            raise unknown_name(
                "arm in the policy:", np.asarray(told)[places < 0].tolist()[0], map(str, experiment.arms)
            )
        return np.asarray(np.eye(arms)[places])
    probabilities = by_arm(experiment, policy, "policy")
    wrong = np.flatnonzero((probabilities < 0).any(axis=1) | (np.abs(probabilities.sum(axis=1) - 1) > 1e-6))
    if wrong.size:
        raise ValueError(
            f"policy: the probabilities of {wrong.size:,} users (the first is row {wrong[0]}) are negative or do not "
            "add up to 1; give the probability of each arm, the control's too"
        )
    return probabilities
