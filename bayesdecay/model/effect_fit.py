"""What a fit of the effect model says: each user's outcome under every arm, and the differences, with intervals.

In: the posterior of :class:`~bayesdecay.model.effect_model.EffectModel` and users with the same features. Out: draws
of what is to be expected of each user under each arm, some users at a time, and tables of them; no sampler is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import expit

from bayesdecay import names
from bayesdecay.errors import unknown_name
from bayesdecay.model.coefficients import Coefficients
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.effect_draws import EffectDraws
from bayesdecay.model.intervals import interval_ends
from bayesdecay.model.paired import paired, paired_size
from bayesdecay.model.posterior import Verdict, summary_table, verdict_of, write_tree
from bayesdecay.model.terms import Terms
from bayesdecay.model.treated import Treatment
from bayesdecay.model.treated_users import Users, ids_of, interest_of, table_of
from bayesdecay.model.uncertainty import DrawOptions
from bayesdecay.model.variables import SHARED_INTEREST

__all__ = ["EffectFit"]

Floats = NDArray[np.float64]
PARTS = ("outcome", "happened", "amount")
# Numbers (rows times draws times arms) of one batch.
_NUMBERS = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectFit:
    """Posterior of the effect model.

    Parameters
    ----------
    idata : xarray.DataTree
        Groups ``posterior`` (chain, draw) and ``sample_stats``; coefficients on the standardised scale.
    """

    idata: xr.DataTree

    KIND = "effect"

    @property
    def verdict(self) -> Verdict:
        """Whether the sampler converged, and the figures behind it."""
        return verdict_of(self.idata)

    @property
    def description(self) -> dict[str, Any]:
        """Formula, arms, outcome, priors and the data's terms, in plain values."""
        return json.loads(self.idata.attrs["model"])

    @property
    def terms(self) -> Terms:
        """The formula, with what it learned from the data of the fit."""
        return Terms.from_dict(self.description["terms"])

    @property
    def treatment(self) -> Treatment:
        """The arms, and what their effects vary with."""
        return Treatment.from_dict(self.description["treatment"])

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms, the control first."""
        return (self.treatment.control, *self.treatment.arms)

    @property
    def causal(self) -> bool:
        """Whether the arms were given at random, so that a difference between them is an effect."""
        return bool(self.description["randomised"])

    @property
    def statement(self) -> str:
        """What the differences between the arms are evidence of, in plain words."""
        told = self.description
        if self.causal:
            return (
                f"{told['outcome']}: what the contact itself changed, learned from {told['rows']:,} users who were "
                "given their arm at random"
            )
        return (
            f"{told['outcome']}: differences between {told['rows']:,} users who were NOT given their arm at random; "
            "whoever was chosen may differ in ways the log does not show, so this is no evidence of an effect"
        )

    def summary(self, *, ci_prob: float = 0.9, allow_unconverged: bool = False) -> pd.DataFrame:
        """Coefficients and effects with intervals, on the log-odds (of amounts: the logarithm), per standard deviation.

        Raises
        ------
        NotConvergedError
            If the fit did not converge and ``allow_unconverged`` is not set; then the table says so in a column.
        """
        self.verdict.require(allow_unconverged=allow_unconverged)
        table = summary_table(self.idata, self.verdict, ci_prob=ci_prob)
        return table[~table.index.astype("str").str.startswith(SHARED_INTEREST)]

    def draws(
        self,
        users: Users,
        decay: DecayFit | None = None,
        *,
        part: str = "outcome",
        options: DrawOptions | None = None,
    ) -> xr.DataArray:
        """Draws of what is to be expected of each user under each arm: P(yes), or the expected amount.

        Parameters
        ----------
        users : Experiment, Snapshots or DataFrame
            With the features of the formula; of a DataFrame the ids are the column ``user`` or else the index.
        decay : DecayFit, optional
            Needed where interest is an input; then the users are snapshots at one cutoff.
        part : {"outcome", "happened", "amount"}
            Of an outcome that is an amount: what is to be expected of it, P(it is above 0), or what is to be expected
            if it is above 0.
        options : DrawOptions, optional
            Number of draws and seed.

        Returns
        -------
        xarray.DataArray
            Dimensions (sample, user, arm), the control first; dense: for as many users as memory takes.

        Raises
        ------
        NotConvergedError
            If the fit did not converge and ``options`` do not allow it.
        DataError, ValueError
            If a feature is missing or unknown, or interest is an input and its history is not given.
        """
        told = options or DrawOptions()
        parts = [values for _, values in self.batches(users, decay, part=part, options=told)]
        size = self._size(told, decay if self.terms.formula.interest else None)
        values = np.concatenate(parts) if parts else np.empty((0, size, len(self.arms)))
        dims = (names.USER, names.SAMPLE, names.ARM)
        found = xr.DataArray(values, dims=dims, coords={names.USER: ids_of(users), names.ARM: list(self.arms)})
        found.attrs |= {"statement": self.statement, "causal": int(self.causal)}
        return found.rename(self.description["outcome"]).transpose(names.SAMPLE, names.USER, names.ARM)

    def effects(
        self,
        users: Users,
        decay: DecayFit | None = None,
        *,
        options: DrawOptions | None = None,
        allow_observational: bool = False,
    ) -> pd.DataFrame:
        """Tell what each arm changes for each user.

        Parameters
        ----------
        users, decay, options
            As :meth:`draws`.
        allow_observational : bool
            Give the differences although the arms were not given at random; the column ``causal`` then says so.

        Returns
        -------
        DataFrame
            A row a user and arm: ``user``, ``arm``, ``untreated`` and ``treated``, the expected outcome, ``effect``,
            their difference, each with ``_lower`` and ``_upper``, and ``p_positive``, P(effect > 0).

        Raises
        ------
        ValueError
            If the arms were not given at random and ``allow_observational`` is not set.
        NotConvergedError, DataError
            As :meth:`draws`.
        """
        self._require_causal(allow_observational=allow_observational)
        told, ids = options or DrawOptions(), ids_of(users)
        parts = [
            _effect_rows(ids[rows], values, self.treatment.arms, told)
            for rows, values in self.batches(users, decay, options=told)
        ]
        found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
        return self._marked(found, told)

    def average_effects(
        self,
        users: Users,
        decay: DecayFit | None = None,
        *,
        options: DrawOptions | None = None,
        allow_observational: bool = False,
    ) -> pd.DataFrame:
        """Tell what each arm changes for these users on average, and how much its effect differs between them.

        Returns
        -------
        DataFrame
            A row an arm: ``effect``, the mean over the users, and ``spread``, the standard deviation of the users'
            effects, each with ``_lower`` and ``_upper``, taken draw by draw.

        Raises
        ------
        ValueError, NotConvergedError, DataError
            As :meth:`effects`.
        """
        self._require_causal(allow_observational=allow_observational)
        told, count = options or DrawOptions(), 0
        total = squares = np.zeros((1, len(self.treatment.arms)))
        for rows, values in self.batches(users, decay, options=told):
            effect = values[:, :, 1:] - values[:, :, :1]
            count, total, squares = count + rows.size, total + effect.sum(axis=0), squares + (effect**2).sum(axis=0)
        if not count:
            raise ValueError("average_effects: there are no users to average over")
        mean = total / count
        spread = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        columns = _with_bounds("effect", mean, told) | _with_bounds("spread", spread, told)
        return self._marked(pd.DataFrame({names.ARM: list(self.treatment.arms), **columns}), told)

    def batches(
        self,
        users: Users,
        decay: DecayFit | None = None,
        *,
        part: str = "outcome",
        options: DrawOptions | None = None,
    ) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        """Go through the users some at a time: their rows, and draws (row, sample, arm) as :meth:`draws` gives."""
        told = options or DrawOptions()
        self.verdict.require(allow_unconverged=told.allow_unconverged)
        terms, treatment, table = self.terms, self.treatment, table_of(users)
        latent = interest_of(users, decay) if terms.formula.interest else None
        if latent is None:
            coefficients, level = Coefficients.of(self.idata, terms, told.draws), np.zeros((len(table), 1))
        else:
            allowed = told.allow_unconverged
            coefficients, population = paired(self.idata, terms, latent.decay, told.draws, allow_unconverged=allowed)
            level = latent.draws(population, told)
        effects = EffectDraws.of(self.idata, coefficients.size)
        unit, yes_or_no = self.description["unit"], self.description["yes_or_no"]
        if part not in PARTS or (part == "amount" and yes_or_no):
            raise unknown_name("part", part, PARTS[:2] if yes_or_no else PARTS)
        rng, step = np.random.default_rng(told.random_seed), max(_NUMBERS // (coefficients.size * len(self.arms)), 1)
        for start in range(0, len(table), step):
            rows = np.arange(start, min(start + step, len(table)))
            design = terms.design(table.iloc[rows], level[rows])
            values = np.column_stack([np.ones(rows.size), treatment.moderating(terms, design)])
            logit, amount = effects.predictors(coefficients, design, values, rng)
            happened = np.asarray(expit(logit) if part != "amount" else 1.0)
            yield rows, happened if part == "happened" or yes_or_no else unit * happened * np.exp(amount)

    def save(self, path: str | Path) -> Path:
        """Write the fit to ``.nc`` (NetCDF) or ``.zarr``; read it with :func:`bayesdecay.load`."""
        return write_tree(self.idata, path)

    def _size(self, told: DrawOptions, decay: DecayFit | None) -> int:
        """How many draws there are: as many as asked for, if each of the fits has so many."""
        return paired_size(told.draws, *(fit.idata for fit in (self, decay) if fit is not None))

    def _require_causal(self, *, allow_observational: bool) -> None:
        if not (self.causal or allow_observational):
            raise ValueError(
                f"{self.statement}. To see the differences all the same, marked as such, pass allow_observational=True"
            )

    def _marked(self, table: pd.DataFrame, told: DrawOptions) -> pd.DataFrame:
        if not self.causal:
            table["causal"] = False
        if not self.verdict.converged:
            table["converged"] = False
        table.attrs |= {names.CI_PROB: told.ci_prob, "statement": self.statement}
        return table

    def _repr_html_(self) -> str:
        table = self.summary(allow_unconverged=True).to_html(float_format="{:.3g}".format)
        return f"<p>Effect fit of {self.statement}. {self.verdict}</p>{table}"


def _effect_rows(ids: NDArray[Any], values: Floats, arms: tuple[str, ...], told: DrawOptions) -> pd.DataFrame:
    """Rows of some users' table, from draws (row, sample, arm) of the outcome."""
    untreated = np.broadcast_to(values[:, :, :1], values[:, :, 1:].shape)
    columns: dict[str, Any] = {names.USER: np.repeat(ids, len(arms)), names.ARM: np.tile(arms, len(ids))}
    for name, draws in (
        ("untreated", untreated),
        ("treated", values[:, :, 1:]),
        ("effect", values[:, :, 1:] - untreated),
    ):
        columns |= {key: part.ravel() for key, part in _with_bounds(name, np.moveaxis(draws, 1, 0), told).items()}
    columns["p_positive"] = (values[:, :, 1:] > untreated).mean(axis=1).ravel()
    return pd.DataFrame(columns)


def _with_bounds(name: str, draws: Floats, told: DrawOptions) -> dict[str, Floats]:
    """Mean and interval over the first axis of draws."""
    lower, upper = interval_ends(draws, told.tails, axis=0)
    return dict(zip((name, *names.bounds(name)), (draws.mean(axis=0), lower, upper), strict=True))
