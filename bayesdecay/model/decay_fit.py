"""The posterior of a decay model: what was learned of the population, and scores of any users by it.

In: a tree of draws that :meth:`bayesdecay.model.decay.DecayModel.fit` made, or a file of one. Out: tables and scores.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import pandas as pd
import xarray as xr

from bayesdecay.data.history import History, SparkHistory
from bayesdecay.model.population import Population
from bayesdecay.model.posterior import Verdict, summary_table, verdict_of, write_tree
from bayesdecay.model.scoring import ScoreOptions, Scores, score
from bayesdecay.model.spark_scoring import score_on_spark

__all__ = ["DecayFit"]


class _Asked(TypedDict, total=False):
    options: ScoreOptions | None
    draws: int
    allow_unconverged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DecayFit:
    """Posterior of the decay model.

    Parameters
    ----------
    idata : xarray.DataTree
        Groups ``posterior`` (chain, draw), ``sample_stats``, ``constant_data`` (grid, groups, covariates), ``shocks``
        (chain, draw): how restless the pace of all users together is, and where it stands at the cutoff.
    """

    idata: xr.DataTree

    KIND = "decay"

    @property
    def verdict(self) -> Verdict:
        """Whether the sampler converged, and the figures behind it."""
        return verdict_of(self.idata)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What must be known before it is used: where the data told nothing and the prior speaks."""
        return tuple(json.loads(self.idata.attrs["model"]).get("remarks", ()))

    def summary(self, *, ci_prob: float = 0.9, allow_unconverged: bool = False) -> pd.DataFrame:
        """Posterior of the population parameters, a row each, times in days.

        Raises
        ------
        NotConvergedError
            If the fit did not converge and ``allow_unconverged`` is not set; then the table says so in a column.
        """
        self.verdict.require(allow_unconverged=allow_unconverged)
        return summary_table(self.idata, self.verdict, ci_prob=ci_prob)

    @overload
    def score(self, history: History, **asked: Unpack[_Asked]) -> Scores: ...
    @overload
    def score(self, history: SparkHistory, **asked: Unpack[_Asked]) -> Any: ...
    def score(
        self,
        history: History | SparkHistory,
        *,
        options: ScoreOptions | None = None,
        draws: int = 200,
        allow_unconverged: bool = False,
    ) -> Scores | Any:
        """Score every user of a history: those of the fit, or new users and new events, without a new fit.

        Parameters
        ----------
        history : History or SparkHistory
            One row a user, up to the cutoff that the statements are made at.
        options : ScoreOptions, optional
            Horizons, silent times, floor, interval; 30 and 90 days unless told.
        draws : int
            Posterior draws used, evenly spread over the chains.

        Returns
        -------
        Scores or pyspark.sql.DataFrame
            The latter, with the same columns and not yet computed, of a history on Spark.

        Raises
        ------
        NotConvergedError
            If the fit did not converge and ``allow_unconverged`` is not set.
        """
        population = self.population(draws, allow_unconverged=allow_unconverged)
        if isinstance(history, SparkHistory):
            return score_on_spark(population, history, options or ScoreOptions())
        return score(population, history, options or ScoreOptions())

    def population(self, draws: int | None = None, *, allow_unconverged: bool = False) -> Population:
        """Return the posterior as plain arrays, at most ``draws`` rows."""
        self.verdict.require(allow_unconverged=allow_unconverged)
        return Population.of(self.idata, draws=draws)

    def save(self, path: str | Path) -> Path:
        """Write the fit to ``.nc`` (NetCDF) or ``.zarr``; read it with :func:`bayesdecay.load`."""
        return write_tree(self.idata, path)

    def _repr_html_(self) -> str:
        table = summary_table(self.idata, self.verdict).to_html(float_format="{:.3g}".format)
        remarks = "".join(f"<p>{html.escape(remark)}</p>" for remark in self.remarks)
        return f"<p>Decay fit: {self.verdict}</p>{remarks}{table}"
