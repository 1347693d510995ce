r"""Was it a fair draw? Balance of the features between the arms, and how far the arms overlap.

In: an experiment with features from before the contact. Out: differences between each arm and the control in standard
deviations, one test of all of them together, and the propensities that the features predict.

The test is the score test of the design against a multinomial logistic regression on the features: with
:math:`d_a = \sum_i (1\{A_i = a\} - e_a(x_i))\, x_i` over the arms but one,

.. math:: d^\top V^{-1} d \sim \chi^2, \qquad
          V_{ab} = \sum_i (e_a(x_i) 1\{a = b\} - e_a(x_i) e_b(x_i))\, x_i x_i^\top .

References
----------
Hansen, B. B. and Bowers, J. (2008). Covariate balance in simple, stratified and clustered comparative studies.
*Statistical Science* 23(2), 219-236. https://doi.org/10.1214/08-STS254
Austin, P. C. (2011). An introduction to propensity score methods. *Multivariate Behavioral Research* 46(3), 399-424.
https://doi.org/10.1080/00273171.2011.568786 (differences above 0.1 deserve a look).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2

from bayesdecay.data.covariates import encoded, standardized
from bayesdecay.data.propensity import estimated, observed_shares
from bayesdecay.names import ARM

if TYPE_CHECKING:
    from bayesdecay.data.experiment import Experiment

__all__ = ["Balance", "balance", "effective_size", "overlap"]

Floats = NDArray[np.float64]

# Outside of these a user's weight is above 20, and a few users carry the whole estimate.
_LOWEST, _HIGHEST = 0.05, 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Balance:
    """Whether the arms are alike in what was known before.

    Attributes
    ----------
    table : DataFrame
        A row a (feature, arm) for each arm but the control: ``mean`` and ``control_mean`` in the feature's own unit,
        ``smd`` (their difference in standard deviations, pooled over the two arms), ``smd_weighted`` (the same after
        weighting by the inverse propensity) and ``variance_ratio`` (arm over control).
    statistic, df : float, int
        Of the joint test against the design; chi-squared if it was kept.
    p_value : float
        Probability of an imbalance at least as large if lots were drawn as said; 1 where there is nothing to compare.
    randomised : bool
        Whether lots were drawn.
    """

    table: pd.DataFrame
    statistic: float
    df: int
    p_value: float
    randomised: bool

    def __str__(self) -> str:
        """Say it in plain words."""
        if not self.df:
            return "No feature can be compared between the arms."
        row = self.table.loc[self.table["smd"].abs().idxmax()]
        largest = f"The largest difference is {row['smd']:+.3f} standard deviations ({row['feature']}, {row[ARM]!r})"
        test = f"all together: chi-squared {self.statistic:.1f} on {self.df}, p = {self.p_value:.3g}"
        if not self.randomised:
            return f"{largest}; {test}. Nobody drew lots: a difference that no feature shows may be there as well."
        kept = (
            "as a fair draw would leave it" if self.p_value >= 0.01 else "a fair draw hardly leaves such a difference"
        )
        return f"{largest}; {test}: {kept}."


def balance(experiment: Experiment) -> Balance:
    """Compare the features of each arm with the control's.

    Raises
    ------
    ValueError
        If the experiment has no features.
    """
    values, columns = encoded(experiment.covariates())
    rows = [_against_control(values, columns, experiment, place) for place in range(1, len(experiment.arms))]
    # Of users who chose for themselves it is asked whether they are as if lots had been drawn, with the same shares.
    design = experiment.propensity if experiment.randomised else observed_shares(experiment.given, len(rows) + 1)
    statistic, df = _joint(standardized(values), experiment.given, design)
    p = float(chi2.sf(statistic, df)) if df else 1.0
    table = pd.concat(rows, ignore_index=True)
    return Balance(table=table, statistic=statistic, df=df, p_value=p, randomised=experiment.randomised)


def overlap(experiment: Experiment) -> pd.DataFrame:
    """Tell how well the features predict the arm: where they do, users of one arm have no like in another.

    Returns
    -------
    DataFrame
        A row an arm. ``users``; quantiles ``q0``, ``q5``, ``q50``, ``q95``, ``q100`` of the estimated propensity of
        that arm over all users; ``outside``, the share of users whose propensity lies outside 0.05 to 0.95; and
        ``effective_users``, how many users of that arm, all weighted alike, would tell as much as these do when
        weighted by the inverse of the estimated propensity (Kish).

    Raises
    ------
    ValueError
        If the experiment has no features.
    """
    values, _ = encoded(experiment.covariates())
    p = estimated(standardized(values), experiment.given, len(experiment.arms))
    quantiles = np.quantile(p, [0, 0.05, 0.5, 0.95, 1], axis=0)
    table = pd.DataFrame(quantiles.T, columns=["q0", "q5", "q50", "q95", "q100"])
    table.insert(0, ARM, list(experiment.arms))
    table.insert(1, "users", np.bincount(experiment.given, minlength=len(experiment.arms)))
    table["outside"] = ((p < _LOWEST) | (p > _HIGHEST)).mean(axis=0)
    weights = [1 / p[experiment.given == place, place] for place in range(len(experiment.arms))]
    table["effective_users"] = [effective_size(weight) for weight in weights]
    return table


def effective_size(weight: Floats) -> float:
    r"""Kish's effective number of users, :math:`(\sum w)^2 / \sum w^2`; 0 for no users."""
    return float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0


def _against_control(values: Floats, columns: list[str], experiment: Experiment, place: int) -> pd.DataFrame:
    """Compare one arm with the control, a row a column."""
    treated, control = values[experiment.given == place], values[experiment.given == 0]
    # The pooled variance is that of the two arms as they are: the weights must not change the unit.
    spread = np.sqrt((treated.var(axis=0) + control.var(axis=0)) / 2)
    weighted = _weighted_mean(values, experiment, place) - _weighted_mean(values, experiment, 0)
    with np.errstate(divide="ignore", invalid="ignore"):  # a feature may not vary within an arm
        return pd.DataFrame(
            {
                "feature": columns,
                ARM: [experiment.arms[place]] * len(columns),
                "mean": treated.mean(axis=0),
                "control_mean": control.mean(axis=0),
                "smd": (treated.mean(axis=0) - control.mean(axis=0)) / spread,
                "smd_weighted": weighted / spread,
                "variance_ratio": treated.var(axis=0) / control.var(axis=0),
            }
        )


def _weighted_mean(values: Floats, experiment: Experiment, place: int) -> Floats:
    inside = experiment.given == place
    return np.average(values[inside], axis=0, weights=1 / experiment.propensity[inside, place])


def _joint(x: Floats, given: NDArray[np.int64], design: Floats) -> tuple[float, int]:
    """Score test of the design: its statistic and its degrees of freedom."""
    arms = design.shape[1]
    difference = ((np.eye(arms)[given] - design)[:, 1:].T @ x).ravel()
    e = design[:, 1:]
    covariance = np.block(
        [[(x * (e[:, a] * ((a == b) - e[:, b]))[:, None]).T @ x for b in range(arms - 1)] for a in range(arms - 1)]
    )
    # The levels of a text add up to one, so a direction is always empty; it counts for nothing.
    values, vectors = np.linalg.eigh(covariance) if difference.size else (np.empty(0), np.empty((0, 0)))
    kept = values > 1e-9 * values.max(initial=0.0)
    along = vectors[:, kept].T @ difference
    return float((along**2 / values[kept]).sum()), int(kept.sum())
