r"""The effect of a contact: what it does to the log-odds of returning, as a distribution.

In: a number or a distribution that the planner is ready to defend. Out: draws of it, and the sentence that says
what is assumed. With :math:`p_0` the probability of returning without contact, contact makes it

.. math:: \operatorname{logit} p_1 = \operatorname{logit} p_0 + \tau.

A log without a randomised treatment says nothing about :math:`\tau`. It is an assumption, it has doubt, and the
doubt is shared: if contact works less than thought, it does so for everybody at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from bayesdecay.decide.risk import check_share
from bayesdecay.decide.written import named_numbers

__all__ = ["DEFAULT_EFFECT", "Effect", "contacted", "uplift"]

# exp(5) multiplies the odds by 148: beyond that the number was meant as a percentage or an odds ratio.
_WIDEST = 5.0
# exp(700) is about the largest finite float64; beyond it 0 * inf would make the exact ends NaN.
_STEEPEST = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """An assumed effect of one contact on the log-odds of returning: Normal(mean, sd), or a point if sd is 0.

    Attributes
    ----------
    mean, sd : float
        Mean and standard deviation of the effect [log-odds].
    reason : str
        Why this is assumed, in the planner's words.

    Examples
    --------
    >>> str(Effect.from_text("normal(0.3, 0.2)"))
    'normal(0.3, 0.2)'
    >>> Effect.normal(0.3, 0.2).odds_ratio()
    '1.35 [0.97, 1.88]'
    """

    mean: float
    sd: float
    reason: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.sd)):
            raise ValueError(f"effect: mean {self.mean} and sd {self.sd} must be finite numbers")
        if self.sd < 0:
            raise ValueError(f"effect: sd is {self.sd:g}; a standard deviation is 0 (no doubt) or more")
        if max(abs(self.mean), self.sd) > _WIDEST:
            raise ValueError(
                f"effect: mean {self.mean:g} and sd {self.sd:g} are on the log-odds scale and must lie within "
                f"{_WIDEST:g}; for 20 % higher odds give log(1.2) = 0.18"
            )

    @classmethod
    def normal(cls, mean: float, sd: float, *, reason: str = "") -> Effect:
        """Normal effect with mean and standard deviation [log-odds]."""
        return cls(mean=float(mean), sd=float(sd), reason=reason)

    @classmethod
    def point(cls, value: float, *, reason: str = "") -> Effect:
        """Effect known without any doubt [log-odds]; its statement marks that claim."""
        return cls(mean=float(value), sd=0.0, reason=reason)

    @classmethod
    def none(cls) -> Effect:
        """Contact does nothing: every contact loses its cost."""
        return cls.point(0.0, reason="contact does nothing")

    @classmethod
    def from_text(cls, text: str) -> Effect:
        """Read ``"normal(0.3, 0.2)"``, ``"0.3"`` (a point that claims no doubt) or ``"none"``.

        Raises
        ------
        TypeError
            If it is not text.
        ValueError
            If it cannot be read, names an unknown distribution or is out of range.
        """
        if not isinstance(text, str):
            raise TypeError(f"effect: expected text such as 'normal(0.3, 0.2)', got {text!r}")
        counts = {name: count for name, (_, count) in _READERS.items()}
        name, numbers = named_numbers(text, counts, what="effect distribution", write=_WRITTEN)
        effect: Effect = _READERS[name][0](*numbers)
        return effect

    @property
    def certain(self) -> bool:
        """Whether the effect claims no doubt."""
        return self.sd == 0

    def draws(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the effect [log-odds], float64[n]: one in each of n equally probable slices, in random order.

        The slices take most of the Monte Carlo error out of the mean and the tails: with 400 independent draws
        of Normal(0.3, 0.2) the mean effect, and with it every profit, would be off by some 3 %.
        """
        if self.certain:
            return np.full(n, self.mean)
        shares = (rng.permutation(n) + rng.random(n)) / n
        # rng.random may return an exact 0, whose quantile is minus infinity.
        return self.mean + self.sd * ndtri(np.maximum(shares, np.finfo(float).tiny))

    def odds_ratio(self, ci_prob: float = 0.9) -> str:
        """Factor on the odds of returning: the median, and the equal-tailed interval if there is doubt."""
        if self.certain:
            return f"exactly {math.exp(self.mean):.2f}"
        half = self.sd * float(ndtri(0.5 + check_share(ci_prob, "ci_prob") / 2))
        middle, low, high = (math.exp(self.mean + shift) for shift in (0.0, -half, half))
        return f"{middle:.2f} [{low:.2f}, {high:.2f}]"

    def statement(self, ci_prob: float = 0.9) -> str:
        """Say in plain words that the effect is assumed, and what is assumed."""
        doubt = " (claiming no doubt, so every interval and risk here is too narrow)" if self.certain else ""
        return (
            f"contact is ASSUMED to multiply the odds of returning by {self.odds_ratio(ci_prob)}{doubt}; "
            "no randomised treatment is in this log, so no output here is evidence of it"
        )

    def __str__(self) -> str:
        """Text that :meth:`from_text` reads back."""
        return repr(self.mean) if self.certain else f"normal({self.mean!r}, {self.sd!r})"


# A number alone is a point.
_READERS: dict[str, Any] = {
    "normal": (Effect.normal, 2), "point": (Effect.point, 1), "none": (Effect.none, 0), "": (Effect.point, 1)
}  # fmt: skip
_WRITTEN = "'normal(mean, sd)', one number or 'none' [log-odds]"

DEFAULT_EFFECT = Effect.normal(
    0.3,
    0.2,
    reason="a contact usually helps a little, may do nothing and rarely doubles the odds of returning; "
    "put the result of your own test in its place",
)


def contacted(p: Any, tau: Any) -> Any:
    r"""P(return) after contact, :math:`\operatorname{logit}^{-1}(\operatorname{logit} p + \tau)`; exact at 0 and 1.

    Parameters
    ----------
    p : array_like
        P(return) without contact.
    tau : array_like
        Effect of contact [log-odds]; broadcasts against ``p``.
    """
    return p / (p + (1 - p) * np.exp(-np.clip(tau, -_STEEPEST, _STEEPEST)))


def uplift(p: Any, tau: Any) -> Any:
    r"""Change of P(return) by contact, ``contacted(p, tau) - p`` without its cancellation.

    Notes
    -----
    :math:`p_1 - p_0 = p_0 (1 - p_0)(1 - e^{-\tau}) / (p_0 + (1 - p_0) e^{-\tau})`: exactly 0 for
    :math:`\tau = 0`, for p = 0 and for p = 1.
    """
    steep = np.clip(tau, -_STEEPEST, _STEEPEST)
    return p * (1 - p) * -np.expm1(-steep) / (p + (1 - p) * np.exp(-steep))
