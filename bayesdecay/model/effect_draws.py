"""Draws of a treatment's effects, and what they make of users: plain numpy, no PyMC.

In: a posterior of the effect model and a design. Out: the logit, and the logarithm of the amount, of each user under
each arm, what is missing of the user's features drawn once for all arms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesdecay.model.coefficients import Coefficients, patterns
from bayesdecay.model.matrices import Design
from bayesdecay.model.posterior import thinned

__all__ = ["EffectDraws"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectDraws:
    """Draws of effects: ``logit`` (sample, arm, 1 + moderator); ``amount`` (sample, 1 + arm, 1 + moderator) or None."""

    logit: Floats
    amount: Floats | None

    @classmethod
    def of(cls, tree: xr.DataTree, draws: int) -> EffectDraws:
        """Take at most ``draws`` of a fit's posterior, as :meth:`Coefficients.of` does."""
        sample = thinned(tree["posterior"].to_dataset(), draws)
        if "amount_effect" not in sample:
            return cls(logit=_stacked(sample, "effect"), amount=None)
        base = sample["amount_intercept"].to_numpy()[:, None, None]
        if "amount_slope" in sample:
            base = np.concatenate([base, sample["amount_slope"].to_numpy()[:, None, :]], axis=2)
        return cls(
            logit=_stacked(sample, "effect"), amount=np.concatenate([base, _stacked(sample, "amount_effect")], axis=1)
        )

    def predictors(
        self, coefficients: Coefficients, design: Design, values: Floats, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Logit and log amount (row, sample, 1 + arm), of the control first; ``values`` (row, 1 + moderator)."""
        known = replace(design, pattern=np.zeros_like(design.pattern))
        logit = coefficients.logit(known, rng)[:, :, None]
        logit = np.concatenate([logit, logit + np.einsum("rm,sam->rsa", values, self.logit, optimize=True)], axis=2)
        amount = np.zeros((1, 1, 1)) if self.amount is None else _cumulated(values, self.amount)
        for rows, root in patterns(design):
            beyond = rng.standard_normal((rows.size, coefficients.size, root.shape[1])) @ root.T
            n_slopes = coefficients.slope.shape[1]
            own = (beyond * coefficients.along(design, rows)).sum(axis=2)[:, :, None]
            logit[rows] += own
            logit[rows, :, 1:] += np.einsum("rsf,saf->rsa", beyond[:, :, :n_slopes], self.logit[:, :, 1 : 1 + n_slopes])
            if self.amount is not None:
                moved = np.einsum("rsf,saf->rsa", beyond[:, :, :n_slopes], self.amount[:, :, 1 : 1 + n_slopes])
                moved[:, :, 1:] += moved[:, :, :1]
                amount[rows] += moved
        return logit, amount


def _stacked(sample: xr.Dataset, name: str) -> Floats:
    """Effects (sample, arm, 1 + moderator): on an average user, then what each moderator adds."""
    mean = sample[name].to_numpy()[:, :, None]
    return np.concatenate([mean, sample[f"{name}_slope"].to_numpy()], axis=2) if f"{name}_slope" in sample else mean


def _cumulated(values: Floats, amount: Floats) -> Floats:
    """Log amounts (row, sample, 1 + arm): the control's, and each arm's on top of it."""
    found = np.einsum("rm,sam->rsa", values, amount, optimize=True)
    found[:, :, 1:] += found[:, :, :1]
    return found
