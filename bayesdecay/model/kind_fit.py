"""The posterior of the kinds of activities: what was learned of the population, and scores of any users by it.

In: a tree of draws that :meth:`bayesdecay.model.kind_model.KindModel.fit` made, or a file of one, and a decay fit,
which says when users are active. Out: tables and scores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import xarray as xr

from bayesdecay.data.kinds import KindCounts
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.kind_scoring import KindPopulation, kind_draws, score_kind_blocks
from bayesdecay.model.population import Population
from bayesdecay.model.posterior import Verdict, summary_table, verdict_of, write_tree
from bayesdecay.model.scoring import ScoreOptions, Scores

__all__ = ["KindFit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFit:
    """Posterior of the kinds of activities.

    Parameters
    ----------
    idata : xarray.DataTree
        Groups ``posterior`` (chain, draw): ``share`` (kind) of the population, ``concentration``, and with groups
        ``group_share`` (group, kind) and ``tau_share``; and ``sample_stats``.
    """

    idata: xr.DataTree

    KIND = "kinds"

    @property
    def verdict(self) -> Verdict:
        """Whether the sampler converged, and the figures behind it."""
        return verdict_of(self.idata)

    @property
    def description(self) -> dict[str, Any]:
        """Kinds, priors and the data's terms, in plain values."""
        return json.loads(self.idata.attrs["model"])

    def summary(self, *, ci_prob: float = 0.9, allow_unconverged: bool = False) -> pd.DataFrame:
        """Posterior of the population's shares and of how alike users are, a row each.

        Raises
        ------
        NotConvergedError
            If the fit did not converge and ``allow_unconverged`` is not set; then the table says so in a column.
        """
        self.verdict.require(allow_unconverged=allow_unconverged)
        return summary_table(self.idata, self.verdict, ci_prob=ci_prob)

    def score(
        self,
        counts: KindCounts,
        decay: DecayFit,
        *,
        options: ScoreOptions | None = None,
        draws: int = 200,
        allow_unconverged: bool = False,
    ) -> Scores:
        """Say of every user how likely it is that it buys, and how often, within the horizons.

        Parameters
        ----------
        counts : KindCounts
            Users up to the cutoff that the statements are made at: those of the fit, or new ones.
        decay : DecayFit
            Says when they are active.
        options : ScoreOptions, optional
            Horizons, interval, seed, shocks and calendar; silent times and floor are not about kinds.
        draws : int
            Posterior draws used of both fits, evenly spread over the chains.

        Returns
        -------
        Scores
            Columns ``user``, and for each kind ``share_purchase``, its share of the user's own activities, and for each
            horizon ``p_purchase_30d``, P(at least one), and ``activities_purchase_30d``, their number; each with
            ``_lower`` and ``_upper``.

        Raises
        ------
        NotConvergedError
            If one of the fits did not converge and ``allow_unconverged`` is not set.
        DataError
            If the counts are of other kinds or another unit of activity than those of the fits.
        """
        options = options or ScoreOptions()
        pair = self._pair(decay, draws, allow_unconverged=allow_unconverged)
        return Scores(table=pa.Table.from_batches(score_kind_blocks(*pair, counts, options)), ci_prob=options.ci_prob)

    def score_parts(
        self,
        counts: KindCounts,
        decay: DecayFit,
        *,
        options: ScoreOptions | None = None,
        draws: int = 200,
        allow_unconverged: bool = False,
    ) -> Iterator[Scores]:
        """Yield what :meth:`score` says part by part, for :func:`~bayesdecay.model.scores.write_scores`."""
        options = options or ScoreOptions()
        pair = self._pair(decay, draws, allow_unconverged=allow_unconverged)
        for block in score_kind_blocks(*pair, counts, options):
            yield Scores(table=pa.Table.from_batches([block]), ci_prob=options.ci_prob)

    def draws(
        self,
        counts: KindCounts,
        decay: DecayFit,
        *,
        options: ScoreOptions | None = None,
        draws: int = 200,
        allow_unconverged: bool = False,
    ) -> xr.Dataset:
        """Draws of each user's ``share`` (sample, user, kind), and ``p`` and ``activities`` (..., horizon); dense."""
        pair = self._pair(decay, draws, allow_unconverged=allow_unconverged)
        return kind_draws(*pair, counts, options or ScoreOptions())

    def save(self, path: str | Path) -> Path:
        """Write the fit to ``.nc`` (NetCDF) or ``.zarr``; read it with :func:`bayesdecay.load`."""
        return write_tree(self.idata, path)

    def _pair(self, decay: DecayFit, draws: int, *, allow_unconverged: bool) -> tuple[KindPopulation, Population]:
        """Equally many draws of both populations."""
        self.verdict.require(allow_unconverged=allow_unconverged)
        told, posterior = self.description, self.idata["posterior"]
        size = min(draws, posterior.sizes["chain"] * posterior.sizes["draw"])
        population = decay.population(size, allow_unconverged=allow_unconverged)
        shares = KindPopulation.of(
            posterior.to_dataset(),
            activity=told["activity"],
            acquisition=told["acquisition"],
            draws=population.size,
        )
        return shares, population

    def _repr_html_(self) -> str:
        table = summary_table(self.idata, self.verdict).to_html(float_format="{:.3g}".format)
        return f"<p>Fit of kinds: {self.verdict}</p>{table}"
