r"""What is known of the candidates: draws of P(return) with and without each offer, a few users at a time.

In: draws (sample, user) without contact and assumed effects, or measured draws (sample, user, offer). Out: an object
that gives the draws of any rows when asked, so that users times offers times samples are never held at once. Sample s
is the same draw of all shared parameters for every user and offer: that is what makes their risks add up.

A fitted effect model takes part by having the same four members as :class:`Prospects`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numba
import numpy as np
import pandas as pd
import xarray as xr

from bayesdecay.decide.campaign import Campaign
from bayesdecay.names import SAMPLE, USER

__all__ = ["NO_OFFER", "OFFER", "AssumedProspects", "HeldProspects", "Prospects", "prospects_of"]

OFFER = "offer"
NO_OFFER = "none"  # its draws are those without contact
# Numbers looked at together when the draws are checked: 8 MB.
_CHECKED = 1_000_000


class Prospects(Protocol):
    """Candidates and their draws.

    Attributes
    ----------
    users : Index
        The candidates' ids, each once.
    offers : tuple of str
        Names of the offers, those of the campaign.
    samples : int
        Number of draws.
    """

    @property
    def users(self) -> pd.Index: ...  # noqa: D102
    @property
    def offers(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def samples(self) -> int: ...  # noqa: D102

    def draws(self, rows: slice | np.ndarray, offers: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """P(return) of some users: without contact [sample, row], and under some offers [offer, sample, row].

        float32 or float64. It is called from several threads, and must give the same rows the same draws each time.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AssumedProspects:
    r"""Draws without contact, and effects that are the same for all users within a draw.

    Attributes
    ----------
    p : float array [sample, user]
        P(return) without contact; it is not copied.
    tau : float array [offer, sample]
        Effects [log-odds].
    """

    p: np.ndarray
    tau: np.ndarray
    users: pd.Index
    offers: tuple[str, ...]

    @property
    def samples(self) -> int:
        """Number of draws."""
        return int(self.tau.shape[1])

    def draws(self, rows: slice | np.ndarray, offers: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """P(return) without contact, and under the offers asked for."""
        p = np.ascontiguousarray(self.p[:, rows])
        if p.dtype not in (np.float32, np.float64):
            p = p.astype(np.float64)
        # Beyond 80 single precision has no odds left, and the probability is 1 or 0 long before.
        steep = np.clip(self.tau[offers], -80.0, 80.0)
        return p, _contacted(p, np.exp(-steep).astype(p.dtype), -np.expm1(-steep).astype(p.dtype))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldProspects:
    """Draws that are all in memory: ``without`` [sample, user] and ``under`` [offer, sample, user]."""

    without: np.ndarray
    under: np.ndarray
    users: pd.Index
    offers: tuple[str, ...]

    @property
    def samples(self) -> int:
        """Number of draws."""
        return int(self.without.shape[0])

    def draws(self, rows: slice | np.ndarray, offers: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """P(return) without contact, and under the offers asked for."""
        return self.without[:, rows], np.stack([self.under[offer][:, rows] for offer in offers])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _contacted(p, odds, less):  # type: ignore[no-untyped-def]
    """P(return) under each offer, [offer, sample, row], as :func:`~bayesdecay.decide.effects.uplift` has it."""
    offers, samples = odds.shape
    one = p.dtype.type(1)
    found = np.empty((offers, *p.shape), dtype=p.dtype)
    for a in range(offers):
        for s in range(samples):
            factor, change = odds[a, s], less[a, s]
            for u in range(p.shape[1]):
                q = p[s, u]
                rest = one - q
                found[a, s, u] = q + q * rest * change / (q + rest * factor)
    return found


def prospects_of(p: Any, campaign: Campaign, rng: np.random.Generator) -> Prospects:
    """Make prospects of what was given to ``choose``, checked; what already is one is taken as it is.

    Raises
    ------
    TypeError, ValueError
        If the draws have other dims, no or repeated ids, values outside [0, 1], or not the campaign's offers.
    """
    names = tuple(campaign.kinds)
    if not isinstance(p, xr.DataArray):
        return _taken(p, names)
    dims = {SAMPLE, USER, OFFER} if campaign.measured else {SAMPLE, USER}
    if set(p.dims) != dims or p.sizes[SAMPLE] == 0:
        wanted = "(sample, user, offer), since no effect is assumed" if campaign.measured else "(sample, user)"
        raise ValueError(f"choose: p has the dims {dict(p.sizes)}; expected draws with dims {wanted}")
    if USER not in p.indexes:
        raise ValueError("choose: p has no coordinate 'user'; give it the users' ids, as in p.assign_coords(user=ids)")
    users = p.indexes[USER]
    if users.has_duplicates:
        twice = users[users.duplicated()][0]
        raise ValueError(f"choose: user {twice!r} comes more than once in p; give one column of draws a user")
    if not campaign.measured:
        effects = [offer.effect for offer in campaign.kinds.values() if offer.effect is not None]
        tau = np.stack([effect.draws(p.sizes[SAMPLE], rng) for effect in effects])
        without = p.transpose(SAMPLE, USER).data
        _check(without, users)
        return AssumedProspects(p=without, tau=tau, users=users, offers=names)
    known = p[OFFER].to_numpy().tolist() if OFFER in p.coords else []
    missing = [name for name in (NO_OFFER, *names) if name not in known]
    if missing:
        raise ValueError(f"choose: p has no offer {missing[0]!r} among {known}; give draws for {[NO_OFFER, *names]}")
    data = p.transpose(OFFER, SAMPLE, USER).data
    for part in data:
        _check(part, users)
    without = data[known.index(NO_OFFER)]
    under = data if known == list(names) else data[[known.index(name) for name in names]]
    return HeldProspects(without=without, under=under, users=users, offers=names)


def _taken(p: Any, names: tuple[str, ...]) -> Prospects:
    """Take an object that gives draws itself, if it is one and is about the campaign's offers."""
    if not all(hasattr(p, member) for member in ("users", "offers", "samples", "draws")):
        raise TypeError(
            f"choose: p is {type(p).__name__}; expected an xarray.DataArray with dims (sample, user), or prospects"
        )
    if tuple(p.offers) != names:
        raise ValueError(f"choose: the prospects are about the offers {tuple(p.offers)}, the campaign about {names}")
    found: Prospects = p
    return found


def _check(p: np.ndarray, users: pd.Index) -> None:
    """Refuse what is no probability, and name its user."""
    step = max(_CHECKED // p.shape[0], 1)
    for start in range(0, p.shape[1], step):
        part = np.asarray(p[:, start : start + step])
        if not (part.min(initial=0) >= 0 and part.max(initial=0) <= 1):  # NaN fails
            user = users[start + int(np.argmin(((part >= 0) & (part <= 1)).all(axis=0)))]
            raise ValueError(f"choose: p of user {user!r} is missing or outside [0, 1]; expected probabilities")
