"""A campaign: what a contact costs, what a return is worth, what a contact is assumed to do, and the budget.

In: the planner's numbers, for everybody or per user. Out: one cost and one value for each candidate.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesdecay.decide.effects import DEFAULT_EFFECT, Effect

__all__ = ["Amount", "Campaign"]

type Amount = float | Mapping[Hashable, float] | pd.Series


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Campaign:
    """One kind of contact, to be offered to some of the candidates.

    Attributes
    ----------
    cost : float or mapping or Series of user -> float
        Cost of one contact [money], paid whether or not the user returns.
    value : float or mapping or Series of user -> float
        Worth of one user who returns [money].
    effect : Effect
        Assumed effect of a contact on the log-odds of returning.
    budget : float or None
        The most that all contacts may cost together [money]; None for no limit.
    horizon : str
        The window that P(reactivation) is about, for the messages, such as "30d".

    Raises
    ------
    TypeError, ValueError
        If a number is missing, negative or of the wrong kind; the message says which and what to give.

    Examples
    --------
    >>> Campaign(cost=0.5, value=20, budget=500, horizon="30d").budget
    500
    """

    cost: Amount
    value: Amount
    effect: Effect = DEFAULT_EFFECT
    budget: float | None = None
    horizon: str = ""

    def __post_init__(self) -> None:
        cost, value = _as_series(self.cost, "cost"), _as_series(self.value, "value")
        if (cost < 0).any():
            raise ValueError(
                f"campaign: cost is {cost[cost < 0].iloc[0]:g}{_where(self.cost, cost < 0)}; give 0 or more"
            )
        if (value < 0).any():
            raise ValueError(
                f"campaign: value is {value[value < 0].iloc[0]:g}{_where(self.value, value < 0)}; give 0 or more"
            )
        if (value == 0).all():
            raise ValueError("campaign: value is 0, so no contact can pay; give what a returning user is worth")
        if not isinstance(self.effect, Effect):
            raise TypeError(
                f"campaign: effect is {self.effect!r}; make one with Effect.normal(0.3, 0.2) or "
                "Effect.from_text('normal(0.3, 0.2)')"
            )
        _check_budget(self.budget)

    def per_user(self, users: pd.Index) -> tuple[np.ndarray, np.ndarray]:
        """Cost and value for each of the users, float64[user] each.

        Raises
        ------
        ValueError
            If a user has no cost or no value.
        """
        return _aligned(self.cost, users, "cost"), _aligned(self.value, users, "value")


def _as_series(amount: Amount, name: str) -> pd.Series:
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
        raise ValueError(f"campaign: {name} has several rows for {_some(twice)}; give each user one")
    wrong = ~np.isfinite(series)
    if wrong.any():
        raise ValueError(f"campaign: {name} is missing or infinite{_where(amount, wrong)}; give a finite number")
    return series


def _aligned(amount: Amount, users: pd.Index, name: str) -> np.ndarray:
    """Amount of each user, float64[user]."""
    if not isinstance(amount, Mapping | pd.Series):
        return np.full(len(users), float(amount))
    series = _as_series(amount, name)
    rows = series.index.get_indexer(users)
    if (rows < 0).any():
        raise ValueError(
            f"campaign: {name} has no row for {_some(users[rows < 0])}; give every candidate one, with ids of the same "
            "type as in the log, or one number for all"
        )
    return series.to_numpy()[rows]


def _check_budget(budget: float | None) -> None:
    if budget is None:
        return
    if isinstance(budget, bool) or not isinstance(budget, numbers.Real):
        raise TypeError(f"campaign: budget is {budget!r}; give a number, or None for no limit")
    if not (math.isfinite(budget) and budget >= 0):
        raise ValueError(f"campaign: budget is {budget}; give 0 or more, or None for no limit")


def _where(amount: object, wrong: pd.Series) -> str:
    """Name the users with a wrong amount; a number for everybody has none to name."""
    return f" for {_some(wrong.index[wrong])}" if isinstance(amount, Mapping | pd.Series) else ""


def _some(users: pd.Index) -> str:
    """Name up to three users and count the rest."""
    shown = ", ".join(repr(user) for user in users[:3].tolist())
    more = f" and {len(users) - 3} more" if len(users) > 3 else ""
    return f"user{'s' if len(users) > 1 else ''} {shown}{more}"
