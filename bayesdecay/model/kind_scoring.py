r"""From the posteriors of decay and of kinds to each user's purchases, carts and views to come; no PyMC.

In: draws of both populations and the users' histories with their counts of kinds. Out: scores, block by block.

Given the population, a user's shares of the kinds are :math:`\pi_u \sim \mathrm{Dirichlet}(c\,m + y)`, and its interest
and decay rate as in :mod:`bayesdecay.model.scoring`; given the model, the two know nothing of each other. Each draw of
the one goes with a draw of the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xarray as xr
from numpy.typing import NDArray

from bayesdecay import names
from bayesdecay.data.kinds import KindCounts
from bayesdecay.errors import DataError
from bayesdecay.model import streams
from bayesdecay.model.block_draws import UserDraws, over_blocks
from bayesdecay.model.grid import DAYS
from bayesdecay.model.kind_kernel import draw_kinds
from bayesdecay.model.population import Population
from bayesdecay.model.posterior import thinned
from bayesdecay.model.score_columns import with_bounds
from bayesdecay.model.scores import ScoreOptions

__all__ = ["KindPopulation", "kind_draws", "score_kind_blocks"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Futures of each draw, and each stretch between the ends of horizons, that a chance is the mean of. In a busy shop
# intervals of 90 % are 5, 2 and 1 % wider than with 128, for 7, 30 and 90 days; with 4 of them 8, 3 and 2 %.
_FUTURES = 6
# Numbers in the largest array of a part of a block.
_NUMBERS = 1_600_000
# Tells the random numbers of kinds from those of activities, which have the same seed.
_KINDS = 27


@dataclass(frozen=True, slots=True, kw_only=True)
class KindPopulation:
    """Draws of the population's shares.

    ``concentration`` (sample, group, kind) of the Dirichlet distribution of users' shares, the last group being one
    that the fit has not seen; the names of ``kinds`` and ``groups``, and what was counted: the unit of ``activity``,
    and the ``acquisition`` too or not.
    """

    concentration: Floats
    kinds: tuple[str, ...]
    groups: tuple[str, ...]
    activity: str
    acquisition: bool

    @classmethod
    def of(cls, posterior: xr.Dataset, *, activity: str, acquisition: bool, draws: int) -> KindPopulation:
        """Take at most ``draws`` of a posterior, evenly spread over the chains."""
        total = posterior.sizes[names.CHAIN] * posterior.sizes[names.DRAW]
        sample = thinned(posterior, min(draws, total))
        share = sample["share"].to_numpy()[:, None, :]
        groups: tuple[str, ...] = ()
        if "group_share" in sample:
            groups = tuple(map(str, sample[names.GROUP].to_numpy()))
            # A fixed seed: which groups are unseen must not change the scores of the others.
            offset = np.random.default_rng(0).standard_normal(share.shape)
            unseen = share * np.exp(sample["tau_share"].to_numpy()[:, None, None] * offset)
            unseen /= unseen.sum(axis=2, keepdims=True)
            share = np.concatenate([sample["group_share"].transpose("sample", ...).to_numpy(), unseen], axis=1)
        return cls(
            concentration=sample["concentration"].to_numpy()[:, None, None] * share,
            kinds=tuple(map(str, sample[names.KIND].to_numpy())),
            groups=groups,
            activity=activity,
            acquisition=acquisition,
        )

    @property
    def size(self) -> int:
        """Number of draws."""
        return len(self.concentration)

    def place(self, group: np.ndarray | None, size: int) -> Integers:
        """Place of the group of each of ``size`` users (row,); one that was not seen is the last."""
        if not self.groups:
            return np.zeros(size, dtype=np.int64)
        if group is None:
            raise DataError("history: the fit of kinds has groups but the history has none; pass group= to summarize")
        known = {name: place for place, name in enumerate(self.groups)}
        return np.array([known.get(str(name), len(known)) for name in group], dtype=np.int64)

    def check(self, counts: KindCounts) -> None:
        """Refuse counts of something else than what was learned."""
        told = {
            "kinds": (self.kinds, counts.kinds),
            "acquisition": (self.acquisition, counts.acquisition),
            "activity": (self.activity, counts.history.activity),
        }
        for what, (fitted, given) in told.items():
            if fitted != given:
                raise DataError(
                    f"counts: the fit of kinds was made with {what}={fitted!r}, these counts have {given!r}; count the "
                    "kinds as for the fit"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class _KindDraws:
    """Draws of some of a block's users, ``rows`` of it; arrays as :func:`draw_kinds` gives them."""

    rows: slice
    share: Floats
    p: Floats
    expected: Floats
    number: Floats


def score_kind_blocks(
    shares: KindPopulation, population: Population, counts: KindCounts, options: ScoreOptions
) -> Iterator[pa.RecordBatch]:
    """Yield what is said of each user's kinds block by block, in the order of the history, memory staying bounded.

    ``shares`` and ``population`` have equally many draws. With a seed, a user's scores do not depend on the others.
    """
    metadata = {names.CI_PROB: str(options.ci_prob), names.AT: str(counts.history.at)}

    def table(draws: UserDraws) -> pa.RecordBatch:
        parts = [
            _columns(part, draws, shares.kinds, options)
            for part in _drawn(shares, population, counts, options, draws, seed)
        ]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        batch = pa.RecordBatch.from_pydict({names.USER: draws.block.user, **columns})
        return batch.replace_schema_metadata(metadata)

    seed = _checked(shares, counts, options)
    yield from over_blocks(population, counts.history, options, table)


def kind_draws(shares: KindPopulation, population: Population, counts: KindCounts, options: ScoreOptions) -> xr.Dataset:
    """Draws of each user's shares, chances and numbers of each kind: dense, for as many users as memory takes.

    Returns
    -------
    xarray.Dataset
        ``share`` (sample, user, kind), ``p`` and ``activities`` (sample, user, kind, horizon).
    """

    def parts(draws: UserDraws) -> list[_KindDraws]:
        return list(_drawn(shares, population, counts, options, draws, seed))

    seed = _checked(shares, counts, options)
    found = [part for block in over_blocks(population, counts.history, options, parts) for part in block]
    dims = (names.SAMPLE, names.USER, names.KIND)
    share, p, number = (
        np.concatenate([getattr(part, name) for part in found]).swapaxes(0, 1) for name in ("share", "p", "number")
    )
    return xr.Dataset(
        {
            names.SHARE: (dims, share),
            names.P: ((*dims, names.HORIZON), p),
            names.ACTIVITIES: ((*dims, names.HORIZON), number),
        },
        coords={
            names.USER: counts.history.table[names.USER].to_pandas().to_numpy(),
            names.KIND: list(shares.kinds),
            names.HORIZON: list(options.windows),
        },
    )


def _checked(shares: KindPopulation, counts: KindCounts, options: ScoreOptions) -> streams.Words:
    """Refuse what cannot be said, and give the seed's words."""
    shares.check(counts)
    if not options.windows:
        raise ValueError("options: what kinds of activities are to come is said within horizons; give at least one")
    return streams.seed_words(options.random_seed, _KINDS)


def _drawn(
    shares: KindPopulation,
    population: Population,
    counts: KindCounts,
    options: ScoreOptions,
    draws: UserDraws,
    seed: streams.Words,
) -> Iterator[_KindDraws]:
    """Draw the kinds of a block's users, a part of them at a time."""
    rng, state = streams.open_generator()
    block, ahead = draws.block, draws.future
    group, keys = shares.place(block.group, len(block)), streams.user_keys(block.user, seed)
    # Several labels may be of one length.
    of_end = np.unique(ahead.place, return_index=True)[1]
    chance, activities = (np.ascontiguousarray(told[:, :, of_end]) for told in (draws.chance, draws.activities))
    happen = np.where(draws.spare[1][:, :, None] < chance[:, :, -1:], activities, 0.0)
    step = max(1, _NUMBERS // (population.size * len(shares.kinds) * ahead.ends.size))
    for start in range(0, len(block), step):
        rows = slice(start, start + step)
        share, p, expected, number = draw_kinds(
            np.ascontiguousarray(shares.concentration[:, group[rows]].swapaxes(0, 1)),
            counts.counts[draws.start : draws.start + len(block)][rows],
            (draws.interest[rows], draws.rate[rows], chance[rows], block.T[rows], block.last[rows], population.rho),
            happen[rows],
            (ahead.ends, ahead.shock, population.grid.shoulder, population.grid.clock == DAYS, _FUTURES),
            keys[rows],
            state,
            rng,
        )
        yield _KindDraws(
            rows=rows,
            share=share,
            p=p[..., ahead.place],
            expected=expected[..., ahead.place],
            number=number[..., ahead.place],
        )


def _columns(part: _KindDraws, draws: UserDraws, kinds: tuple[str, ...], options: ScoreOptions) -> dict[str, Floats]:
    """Columns of the table but the user: each number with the ends of its interval."""
    found: dict[str, Floats] = {}
    # The chance of any activity is known without the noise of a few hundred draws, which both means have in common.
    drawn = draws.chance[part.rows].mean(axis=1)
    sure = np.divide(draws.p_return[part.rows], drawn, out=np.zeros_like(drawn), where=drawn > 0.0)
    for k, kind in enumerate(kinds):
        share = part.share[:, :, k]
        found |= with_bounds(names.of_kind(names.SHARE, kind), share.mean(axis=1), share, options)
        for h, label in enumerate(options.windows):
            p, number = part.p[:, :, k, h], part.number[:, :, k, h]
            name = names.per_horizon(names.of_kind(names.P, kind), label)
            found |= with_bounds(name, np.minimum(p.mean(axis=1) * sure[:, h], 1.0), p, options)
            name = names.per_horizon(names.of_kind(names.ACTIVITIES, kind), label)
            found |= with_bounds(name, (share * part.expected[:, :, h]).mean(axis=1) * sure[:, h], number, options)
    return found
