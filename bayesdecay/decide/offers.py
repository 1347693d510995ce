"""An offer: one kind of contact, what it costs and what it is assumed to do; and amounts for all or per user.

In: the planner's numbers, for everybody or per user. Out: checked numbers, one for each candidate.
"""

from __future__ import annotations

import numbers
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesdecay.decide.effects import Effect

__all__ = ["Amount", "Offer", "aligned", "as_series", "check_amount", "some"]

type Amount = float | Mapping[Hashable, float] | pd.Series


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """One kind of contact, such as an e-mail, a coupon or a call.

    Attributes
    ----------
    cost : float or mapping or Series of user -> float
        Paid at contact, whether or not the user returns [money]. The budget is about these costs.
    cost_if_returns : float
        Paid when a contacted user returns, with or without the contact's doing, such as a coupon's discount [money].
    effect : Effect or None
        Assumed effect on the log-odds of returning, the same for all users within a draw; None where the draws given
        to ``choose`` hold a measured P(reactivation) under each offer.
    capacity : int or None
        The most users that may get it [count]; None for no limit.

    Raises
    ------
    TypeError, ValueError
        If a number is missing, negative or of the wrong kind.

    Examples
    --------
    >>> Offer(cost=0.2, cost_if_returns=5.0, effect=Effect.normal(0.6, 0.3), capacity=1_000).capacity
    1000
    """

    cost: Amount
    cost_if_returns: float = 0.0
    effect: Effect | None = None
    capacity: int | None = None

    def __post_init__(self) -> None:
        check_amount(self.cost, "cost")
        check_amount(self.cost_if_returns, "cost_if_returns")
        if isinstance(self.cost_if_returns, Mapping | pd.Series):
            raise TypeError("campaign: cost_if_returns is one number for all users [money]; give a float")
        if self.effect is not None and not isinstance(self.effect, Effect):
            raise TypeError(
                f"campaign: effect is {self.effect!r}; make one with Effect.normal(0.3, 0.2) or "
                "Effect.from_text('normal(0.3, 0.2)')"
            )
        if self.capacity is not None:
            if isinstance(self.capacity, bool) or not isinstance(self.capacity, numbers.Integral):
                raise TypeError(f"campaign: capacity is {self.capacity!r}; give a whole number, or None for no limit")
            if self.capacity < 0:
                raise ValueError(f"campaign: capacity is {self.capacity}; give 0 or more, or None for no limit")


def check_amount(amount: Amount, name: str) -> pd.Series:
    """Refuse what is no finite number of 0 or more, and name the users it is about."""
    series = as_series(amount, name)
    if (series < 0).any():
        raise ValueError(
            f"campaign: {name} is {series[series < 0].iloc[0]:g}{_where(amount, series < 0)}; give 0 or more"
        )
    return series


def as_series(amount: Amount, name: str) -> pd.Series:
    """Show one number or many as a Series, checked to be finite numbers with one row a user."""
    if isinstance(amount, bool) or not isinstance(amount, numbers.Real | Mapping | pd.Series):
        raise TypeError(f"campaign: {name} is {amount!r}; give one number, or a Series or mapping with one a user")
    try:
        series = pd.Series(amount if isinstance(amount, Mapping | pd.Series) else [amount]).astype(float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"campaign: {name} holds something that is not a number: {error}") from error
    if series.empty:
        raise ValueError(f"campaign: {name} is empty; give one number, or one a user")
    if series.index.has_duplicates:
        twice = series.index[series.index.duplicated()].unique()
        raise ValueError(f"campaign: {name} has several rows for {some(twice)}; give each user one")
    wrong = ~np.isfinite(series)
    if wrong.any():
        raise ValueError(f"campaign: {name} is missing or infinite{_where(amount, wrong)}; give a finite number")
    return series


def aligned(amount: Amount, users: pd.Index, name: str) -> np.ndarray:
    """Amount of each user, float64[user].

    Raises
    ------
    ValueError
        If a user has none.
    """
    if not isinstance(amount, Mapping | pd.Series):
        return np.full(len(users), float(amount))
    series = as_series(amount, name)
    rows = series.index.get_indexer(users)
    if (rows < 0).any():
        raise ValueError(
            f"campaign: {name} has no row for {some(users[rows < 0])}; give every candidate one, with ids of the same "
            "type as in the log, or one number for all"
        )
    return series.to_numpy()[rows]


def _where(amount: object, wrong: pd.Series) -> str:
    """Name the users with a wrong amount; a number for everybody has none to name."""
    return f" for {some(wrong.index[wrong])}" if isinstance(amount, Mapping | pd.Series) else ""


def some(users: pd.Index) -> str:
    """Name up to three users and count the rest."""
    shown = ", ".join(repr(user) for user in users[:3].tolist())
    more = f" and {len(users) - 3} more" if len(users) > 3 else ""
    return f"user{'s' if len(users) > 1 else ''} {shown}{more}"
