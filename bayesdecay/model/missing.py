r"""Features that are missing in some rows: what the known ones say of them, and how unsure that is.

The features, standardised, and log interest are modelled as jointly normal, with mean :math:`\mu` and covariance
:math:`\Sigma` by maximum likelihood from all rows (the EM algorithm). Of a row with the features M missing and O known,

.. math::

    x_M \mid x_O \sim \mathrm{Normal}\big(\mu_M + \Sigma_{MO}\Sigma_{OO}^{-1}(x_O - \mu_O),\;
        \Sigma_{MM} - \Sigma_{MO}\Sigma_{OO}^{-1}\Sigma_{OM}\big),

so the missing part of a logit is normal too, whatever the coefficients, and the likelihood averages over it. The
covariance depends on the *pattern* of what is missing alone. Missing is taken to be explained by what is known
("missing at random"); mu and Sigma themselves are taken as known, which costs a share of 1/rows of the variance.

References
----------
Little, R. J. A. and Rubin, D. B. (2019). *Statistical Analysis with Missing Data*, 3rd ed., chapters 8 and 11.
https://doi.org/10.1002/9781119482260
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TREATMENTS", "Completed", "FeatureNormal"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TREATMENTS = ("model", "mean", "median", "indicator", "refuse")
_MOST_STEPS, _TOLERANCE = 500, 1e-6
# Features of a formula may be functions of each other, and their covariance singular.
_RIDGE = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    r"""Rows whose missing features have been replaced by their expectations.

    ``values`` (row, feature); ``pattern`` (row,) of what was missing, 0 for nothing; ``root`` (pattern, feature,
    feature): a square root L of the covariance :math:`LL^\top` of what was missing, 0 where nothing was.
    """

    values: Floats
    pattern: Integers
    root: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureNormal:
    """The joint normal distribution of features (feature,) and of one more number that is always known."""

    mean: Floats
    covariance: Floats

    @classmethod
    def learn(cls, values: Floats, always: Floats) -> FeatureNormal:
        """Fit to ``values`` (row, feature), NaN where missing, and ``always`` (row,)."""
        rows = np.column_stack([values, always])
        patterns = _patterns(rows)
        spread = np.nanvar(rows, axis=0) + _RIDGE
        found = cls(mean=np.nanmean(rows, axis=0), covariance=np.diag(spread))
        for _ in range(_MOST_STEPS):
            before, found = found, found._step(rows, patterns)
            moved = np.abs(found.covariance - before.covariance).max() + np.abs(found.mean - before.mean).max()
            if moved < _TOLERANCE:
                break
        return found

    def _step(self, rows: Floats, patterns: list[tuple[NDArray[np.bool_], Integers]]) -> FeatureNormal:
        """One step of EM: the moments of the rows completed by the present distribution."""
        filled, extra = rows.copy(), np.zeros_like(self.covariance)
        for known, members in patterns:
            coefficient, left = self._conditional(known)
            filled[np.ix_(members, ~known)] = self.mean[~known] + (rows[np.ix_(members, known)] - self.mean[known]) @ (
                coefficient.T
            )
            extra[np.ix_(~known, ~known)] += members.size * left
        mean = filled.mean(axis=0)
        centred = filled - mean
        return FeatureNormal(mean=mean, covariance=(centred.T @ centred + extra) / rows.shape[0])

    def _conditional(self, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Regression (missing, known) of what is missing on what is known, and the covariance (missing, missing)."""
        across = self.covariance[np.ix_(~known, known)]
        inner = self.covariance[np.ix_(known, known)]
        coefficient = across @ np.linalg.pinv(inner + _RIDGE * np.eye(inner.shape[0]), hermitian=True)
        return coefficient, self.covariance[np.ix_(~known, ~known)] - coefficient @ across.T

    def complete(self, values: Floats, always: Floats) -> Completed:
        """Replace what is missing by what is to be expected of it, and tell how unsure that is."""
        rows = np.column_stack([values, always])
        n_features = values.shape[1]
        pattern, roots = np.zeros(rows.shape[0], dtype=np.int64), [np.zeros((n_features, n_features))]
        for known, members in _patterns(rows):
            if known.all():
                continue
            coefficient, left = self._conditional(known)
            rows[np.ix_(members, ~known)] = self.mean[~known] + (rows[np.ix_(members, known)] - self.mean[known]) @ (
                coefficient.T
            )
            pattern[members] = len(roots)
            size, vectors = np.linalg.eigh(left)
            root = np.zeros((n_features, n_features))
            missing = np.flatnonzero(~known[:n_features])
            root[np.ix_(missing, missing)] = vectors * np.sqrt(np.maximum(size, 0.0))
            roots.append(root)
        return Completed(values=rows[:, :n_features], pattern=pattern, root=np.stack(roots))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return {"mean": self.mean.tolist(), "covariance": self.covariance.tolist()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> FeatureNormal:
        """Read back what :meth:`to_dict` gave."""
        return cls(mean=np.array(plain["mean"]), covariance=np.array(plain["covariance"]))


def _patterns(rows: Floats) -> list[tuple[NDArray[np.bool_], Integers]]:
    """Each pattern of known numbers (feature,), and the rows that have it."""
    known, index = np.unique(np.isfinite(rows), axis=0, return_inverse=True)
    return [(pattern, np.flatnonzero(index.ravel() == i)) for i, pattern in enumerate(known)]
