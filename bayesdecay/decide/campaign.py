"""A campaign: the offers, what a return is worth, the budget, who is left out, and who is held out.

In: the planner's numbers. Out: one checked description, which ``choose`` aligns with its candidates.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayesdecay.decide.effects import DEFAULT_EFFECT, Effect
from bayesdecay.decide.offers import Amount, Offer, aligned, check_amount, some
from bayesdecay.names import SAMPLE, USER

__all__ = ["CONTACT", "Amount", "Campaign"]

CONTACT = "contact"  # name of the only offer of a campaign that names none


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Campaign:
    """Offers to be made to some of the candidates, each user getting one at most.

    Attributes
    ----------
    cost : float or mapping or Series of user -> float
        Cost of one contact [money], paid whether or not the user returns; for a campaign with one kind of contact.
    value : float or mapping or Series of user -> float, or DataArray (sample, user)
        Worth of one user who returns [money]; draws of it may come from a spend model. A user of value 0 is never
        contacted, and the table says so; a user without a value is an error.
    effect : Effect
        Assumed effect of that one kind of contact on the log-odds of returning.
    budget : float or None
        The most that all contacts may cost together at contact [money]; None for no limit.
    horizon : str
        The window that P(reactivation) is about, for the messages, such as "30d".
    offers : mapping of str -> Offer, optional
        Several kinds of contact by name, in place of ``cost`` and ``effect``.
    exclude : collection of users
        Users who may not be contacted, such as those who opted out.
    control : float
        Share of the candidates held out at random, to be compared with later; in [0, 1).

    Raises
    ------
    TypeError, ValueError
        If a number is missing, negative or of the wrong kind; the message says which and what to give.

    Examples
    --------
    >>> Campaign(cost=0.5, value=20, budget=500, horizon="30d").budget
    500
    >>> mail, coupon = Offer(cost=0.1, effect=Effect.normal(0.2, 0.1)), Offer(cost=0.2, effect=Effect.normal(0.5, 0.3))
    >>> list(Campaign(offers={"e-mail": mail, "coupon": coupon}, value=20).kinds)
    ['e-mail', 'coupon']
    """

    value: Amount | xr.DataArray
    cost: Amount | None = None
    effect: Effect = DEFAULT_EFFECT
    budget: float | None = None
    horizon: str = ""
    offers: Mapping[str, Offer] | None = None
    exclude: Collection[Hashable] = ()
    control: float = 0.0

    def __post_init__(self) -> None:
        if (self.cost is None) == (self.offers is None):
            raise ValueError(
                "campaign: give either cost (and effect) of one kind of contact, or offers={'name': Offer}"
            )
        if self.offers is not None:
            _check_offers(self.offers)
        _check_value(self.value)
        _ = self.kinds  # an Offer checks its own numbers
        _check_budget(self.budget)
        if isinstance(self.exclude, str) or not isinstance(self.exclude, Collection):
            raise TypeError(f"campaign: exclude is {self.exclude!r}; give a list of users")
        if isinstance(self.control, bool) or not isinstance(self.control, numbers.Real):
            raise TypeError(f"campaign: control is {self.control!r}; give a share such as 0.1")
        if not 0 <= self.control < 1:
            raise ValueError(f"campaign: control is {self.control}; give a share of at least 0 and below 1")

    @property
    def kinds(self) -> dict[str, Offer]:
        """The offers by name; the only one of the simple form is called "contact"."""
        if self.offers is not None:
            return dict(self.offers)
        return {CONTACT: Offer(cost=self.cost, effect=self.effect)}

    @property
    def measured(self) -> bool:
        """Whether effects are measured, and come with the draws, and not assumed."""
        return all(offer.effect is None for offer in self.kinds.values())

    def excluded(self, users: pd.Index) -> np.ndarray:
        """Who of the users may not be contacted, bool[user].

        Raises
        ------
        TypeError
            If nobody is found because the ids are of another type: users who opted out would be contacted.
        """
        found: np.ndarray = users.isin(list(self.exclude))
        kinds = [pd.api.types.infer_dtype(list(ids)) for ids in (self.exclude, users)]
        if len(self.exclude) and len(users) and not found.any() and kinds[0] != kinds[1]:
            raise TypeError(
                f"campaign: exclude holds ids of the type {kinds[0]} and the candidates' are {kinds[1]}, so nobody "
                "would be left out; give ids of the same type as in the log"
            )
        return found

    def costs(self, users: pd.Index) -> np.ndarray:
        """Cost at contact, float64[user, offer] [money].

        Raises
        ------
        ValueError
            If a user has no cost.
        """
        return np.stack([aligned(offer.cost, users, "cost") for offer in self.kinds.values()], axis=1)

    def values(self, users: pd.Index, samples: int) -> np.ndarray:
        """Value of a return, float64[1 or sample, user] [money].

        Raises
        ------
        ValueError
            If a user has no value, or there are more or fewer draws than ``samples``.
        """
        if not isinstance(self.value, xr.DataArray):
            return aligned(self.value, users, "value")[None, :]
        if self.value.sizes[SAMPLE] != samples:
            raise ValueError(
                f"campaign: value has {self.value.sizes[SAMPLE]} draws and P(reactivation) {samples}; give draws of "
                "the same samples"
            )
        rows = self.value.indexes[USER].get_indexer(users)
        if (rows < 0).any():
            raise ValueError(f"campaign: value has no draws for {some(users[rows < 0])}; give every candidate some")
        draws: np.ndarray = self.value.transpose(SAMPLE, USER).data
        return draws if (rows == np.arange(draws.shape[1])).all() and rows.size == draws.shape[1] else draws[:, rows]

    def assumption(self, ci_prob: float = 0.9) -> str:
        """Say in plain words what is assumed about the effects."""
        effects = {name: offer.effect for name, offer in self.kinds.items() if offer.effect is not None}
        if self.measured:
            return "the effects are measured, draw by draw, and not assumed; they hold for users like those measured"
        if list(effects) == [CONTACT]:
            return effects[CONTACT].statement(ci_prob)
        parts = [
            f"{name!r} is ASSUMED to multiply the odds of returning by {effect.odds_ratio(ci_prob)}"
            f"{' (claiming no doubt, so every interval and risk here is too narrow)' if effect.certain else ''}"
            for name, effect in effects.items()
        ]
        return f"{', '.join(parts)}; no randomised treatment is in this log, so no output here is evidence of it"


def _check_offers(offers: object) -> None:
    if not isinstance(offers, Mapping) or not all(isinstance(offer, Offer) for offer in offers.values()):
        raise TypeError(f"campaign: offers is {offers!r}; give a mapping such as {{'e-mail': Offer(cost=0.1, ...)}}")
    if not offers or not all(isinstance(name, str) and name for name in offers):
        raise ValueError("campaign: offers is empty or has a nameless one; give at least one offer with a name")
    kinds = {offer.effect is None for offer in offers.values()}
    if len(kinds) > 1:
        raise ValueError("campaign: some offers have an assumed effect and some none; assume all, or measure all")


def _check_value(value: Amount | xr.DataArray) -> None:
    if not isinstance(value, xr.DataArray):
        if (check_amount(value, "value") == 0).all():
            raise ValueError("campaign: value is 0, so no contact can pay; give what a returning user is worth")
        return
    if set(value.dims) != {SAMPLE, USER} or USER not in value.indexes:
        raise ValueError(
            f"campaign: value has the dims {dict(value.sizes)}; expected draws (sample, user) with the users' ids"
        )
    low, high = float(value.min(skipna=False)), float(value.max(skipna=False))
    if not (low >= 0 and math.isfinite(high)):  # NaN fails too
        raise ValueError("campaign: some draws of value are missing, negative or infinite; give 0 or more")


def _check_budget(budget: float | None) -> None:
    if budget is None:
        return
    if isinstance(budget, bool) or not isinstance(budget, numbers.Real):
        raise TypeError(f"campaign: budget is {budget!r}; give a number, or None for no limit")
    if not (math.isfinite(budget) and budget >= 0):
        raise ValueError(f"campaign: budget is {budget}; give 0 or more, or None for no limit")
