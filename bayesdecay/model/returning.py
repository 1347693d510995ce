"""What a fit of the reactivation model says: probabilities of returning, coefficients on two scales, what was missing.

In: the posterior of :class:`~bayesdecay.model.reactivation.ReactivationModel`, snapshots and a decay fit. Out: draws
of each user's P(reactivation), as probabilities or as the parts of their logits; no sampler is needed for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import xarray as xr
from numpy.typing import NDArray
from scipy.special import expit

from bayesdecay import names, units
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.errors import unknown_name
from bayesdecay.model.coefficients import Coefficients
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.interest_slices import log_expected_interest
from bayesdecay.model.intervals import interval_ends
from bayesdecay.model.latent_interest import KnownInterest, log_interest_draws
from bayesdecay.model.matrices import Design
from bayesdecay.model.paired import paired, paired_size, shared_interest_of
from bayesdecay.model.posterior import Verdict, summary_table, verdict_of, write_tree
from bayesdecay.model.scores import Scores
from bayesdecay.model.terms import Terms
from bayesdecay.model.variables import SHARED_INTEREST

__all__ = ["PART", "ReactivationFit", "score_reactivation"]

Floats = NDArray[np.float64]

PART = "part"
SCALES = ("standardised", "original")
# Numbers (rows times draws) of one batch, so that the parts of its logit stay small.
_NUMBERS = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactivationFit:
    """Posterior of the reactivation model.

    Parameters
    ----------
    idata : xarray.DataTree
        Groups ``posterior`` (chain, draw) and ``sample_stats``; coefficients on the standardised scale.
    """

    idata: xr.DataTree

    KIND = "reactivation"

    @property
    def verdict(self) -> Verdict:
        """Whether the sampler converged, and the figures behind it."""
        return verdict_of(self.idata)

    @property
    def description(self) -> dict[str, Any]:
        """Formula, priors, horizon and the data's terms, in plain values."""
        return json.loads(self.idata.attrs["model"])

    @property
    def terms(self) -> Terms:
        """The formula, with what it learned from the data of the fit."""
        return Terms.from_dict(self.description["terms"])

    @property
    def horizon(self) -> str:
        """Label of the horizon that the probabilities are about, such as ``"30d"``."""
        return units.duration_label(self.description["horizon"])

    def missing_table(self) -> pd.DataFrame:
        """Columns that were missing in some rows of the fit's data, how many, and what was done about it."""
        told = self.description
        rows = [(name, count, count / told["rows"]) for name, count in told["missing_rows"].items()]
        return pd.DataFrame(rows, columns=["column", "missing", "share"]).assign(treatment=told["terms"]["missing"])

    def summary(
        self, *, scale: str = "standardised", ci_prob: float = 0.9, allow_unconverged: bool = False
    ) -> pd.DataFrame:
        """Coefficients with intervals, on the log-odds.

        Parameters
        ----------
        scale : {"standardised", "original"}
            Whether a coefficient is for one standard deviation of its feature, which then stands in the column
            ``unit``, or for one of the feature itself (for interest, of its logarithm).

        Raises
        ------
        NotConvergedError
            If the fit did not converge and ``allow_unconverged`` is not set; then the table says so in a column.
        """
        if scale not in SCALES:
            raise unknown_name("scale", scale, SCALES)
        self.verdict.require(allow_unconverged=allow_unconverged)
        terms, posterior = self.terms, self.idata["posterior"].to_dataset()
        if scale == "original":
            posterior = _on_original_scale(posterior, terms)
        table = summary_table(xr.DataTree.from_dict({"posterior": posterior}), self.verdict, ci_prob=ci_prob)
        table = table[~table.index.astype("str").str.startswith(("horseshoe", SHARED_INTEREST))]
        scales = terms.scales
        units_of = {f"slope[{name}]": scales[name] for name in terms.slopes} | {"slope_interest": terms.interest_scale}
        original = scale == "original"
        unit = [1.0 if original and str(name) in units_of else units_of.get(str(name), np.nan) for name in table.index]
        table.insert(0, "unit", unit)
        return table

    def draws(
        self,
        snapshots: Snapshots,
        decay: DecayFit,
        *,
        draws: int = 200,
        interest: str | None = None,
        random_seed: int | None = None,
        allow_unconverged: bool = False,
    ) -> xr.DataArray:
        """Draws of P(reactivation) of users at one cutoff, carrying their uncertain interest draw for draw.

        Parameters
        ----------
        interest : {"uncertain", "plugin"}, optional
            Whether each user's interest enters with its uncertainty or as its mean; as in the fit unless told. The
            difference in width is what knowing the interest would be worth.

        Returns
        -------
        xarray.DataArray
            Dimensions (sample, user), dense: for as many users as memory takes.

        Raises
        ------
        ValueError
            If the snapshots have several cutoffs.
        NotConvergedError
            If a fit did not converge and ``allow_unconverged`` is not set.
        """
        users = _at_one_cutoff(snapshots)
        parts = [
            coefficients.logit(design, rng)
            for coefficients, design, rng in self._batches(
                snapshots, decay, draws, interest, random_seed, allow_unconverged=allow_unconverged
            )
        ]
        p = expit(np.concatenate(parts)) if parts else np.empty((0, paired_size(draws, self.idata, decay.idata)))
        found = xr.DataArray(p, dims=(names.USER, names.SAMPLE), coords={names.USER: users}, name=names.P_REACTIVATION)
        found.attrs["horizon"] = self.horizon
        return found.transpose(names.SAMPLE, names.USER)

    def logit_parts(
        self,
        snapshots: Snapshots,
        decay: DecayFit,
        *,
        draws: int = 200,
        random_seed: int | None = None,
        allow_unconverged: bool = False,
    ) -> xr.DataArray:
        """Draws of the parts that make each user's logit; their sum is the logit of what :meth:`draws` gives.

        Returns
        -------
        xarray.DataArray
            Dimensions (sample, user, part) [log-odds], dense: ``baseline``, a part for each group, each term of the
            formula and interest, and ``missing features`` where a user has any.

        Raises
        ------
        ValueError, NotConvergedError
            As :meth:`draws`.
        """
        users = _at_one_cutoff(snapshots)
        found = [
            coefficients.parts(design, rng)
            for coefficients, design, rng in self._batches(
                snapshots, decay, draws, None, random_seed, allow_unconverged=allow_unconverged
            )
        ]
        labels = list(dict.fromkeys(name for batch in found for name in batch))
        stacked = [np.stack([batch.get(name, 0.0 * batch["baseline"]) for name in labels]) for batch in found]
        size = paired_size(draws, self.idata, decay.idata)
        values = np.concatenate(stacked, axis=1) if stacked else np.empty((0, 0, size))
        return xr.DataArray(
            values,
            dims=(PART, names.USER, names.SAMPLE),
            coords={PART: labels, names.USER: users},
            name="logit",
            attrs={"horizon": self.horizon},
        ).transpose(names.SAMPLE, names.USER, PART)

    def log_likelihood(
        self,
        snapshots: Snapshots,
        decay: DecayFit,
        *,
        draws: int = 400,
        allow_unconverged: bool = False,
    ) -> xr.DataArray:
        """Log-likelihood of each row's outcome at each draw of the coefficients, the user's own interest averaged over.

        Returns
        -------
        xarray.DataArray
            Dimensions (sample, row) [nats], for PSIS-LOO and the like.

        Raises
        ------
        LeakageError
            If an outcome is not wholly observed.
        NotConvergedError
            If a fit did not converge and ``allow_unconverged`` is not set.
        """
        from bayesdecay.model.pointwise import pointwise

        self.verdict.require(allow_unconverged=allow_unconverged)
        coefficients, told = Coefficients.of(self.idata, self.terms, draws), snapshots.training()
        if self.description["interest"] == "plugin":
            population = decay.population(draws, allow_unconverged=allow_unconverged)
            return pointwise(coefficients, told, KnownInterest.expected(population, told))
        population = decay.population(allow_unconverged=allow_unconverged)
        shared = shared_interest_of(self.idata)
        known = KnownInterest.of(population, told, shared)
        return pointwise(coefficients, told, known if shared is not None else known.alone())

    def _batches(
        self,
        snapshots: Snapshots,
        decay: DecayFit,
        draws: int,
        interest: str | None,
        random_seed: int | None,
        *,
        allow_unconverged: bool,
    ) -> Iterator[tuple[Coefficients, Design, np.random.Generator]]:
        """Some users at a time: the coefficients' draws, and a design with as many levels of interest."""
        interest = interest or self.description["interest"]
        if interest not in ("uncertain", "plugin", "joint"):
            raise unknown_name("way to enter interest", interest, ("uncertain", "plugin"))
        self.verdict.require(allow_unconverged=allow_unconverged)
        terms, histories = self.terms, snapshots.histories.values()
        coefficients, population = paired(self.idata, terms, decay, draws, allow_unconverged=allow_unconverged)
        if interest == "plugin":
            log_interest = log_expected_interest(population, histories)
        else:
            log_interest = log_interest_draws(population, histories, random_seed)
        rng, step = np.random.default_rng(random_seed), max(_NUMBERS // coefficients.size, 1)
        for start in range(0, len(snapshots), step):
            rows = slice(start, start + step)
            yield coefficients, terms.design(snapshots.table.iloc[rows], log_interest[rows]), rng

    def save(self, path: str | Path) -> Path:
        """Write the fit to ``.nc`` (NetCDF) or ``.zarr``; read it with :func:`bayesdecay.load`."""
        return write_tree(self.idata, path)

    def _repr_html_(self) -> str:
        table = self.summary(allow_unconverged=True).to_html(float_format="{:.3g}".format)
        return f"<p>Reactivation fit, {self.horizon}: {self.verdict}</p>{table}"


def score_reactivation(p: xr.DataArray, *, ci_prob: float = 0.9) -> Scores:
    """Mean and credible interval of each user's P(reactivation), from its draws (sample, user)."""
    name = names.per_horizon(names.P_REACTIVATION, p.attrs["horizon"])
    draws = p.transpose(names.SAMPLE, names.USER).to_numpy()
    lower, upper = interval_ends(draws, ((1 - ci_prob) / 2, (1 + ci_prob) / 2), axis=0)
    values = (draws.mean(axis=0), lower, upper)
    columns = dict(zip((name, *names.bounds(name)), values, strict=True))
    return Scores(table=pa.table({names.USER: pa.array(p[names.USER].to_numpy()), **columns}), ci_prob=ci_prob)


def _at_one_cutoff(snapshots: Snapshots) -> NDArray[Any]:
    """Users of snapshots at one cutoff."""
    if len(snapshots.histories) != 1:
        raise ValueError(f"expected snapshots at one cutoff, got {len(snapshots.histories)}")
    return snapshots.table[names.USER].to_numpy()


def _on_original_scale(posterior: xr.Dataset, terms: Terms) -> xr.Dataset:
    """Coefficients for one of each feature itself; what is constant in them goes into the intercepts."""
    posterior = posterior.copy()
    scales, centers = terms.scales, terms.centers
    posterior["slope_interest"] = posterior["slope_interest"] / terms.interest_scale
    shift = posterior["slope_interest"] * terms.interest_center
    if terms.slopes:
        scale, center = (xr.DataArray([of[name] for name in terms.slopes], dims="feature") for of in (scales, centers))
        posterior["slope"] = posterior["slope"] / scale
        shift = shift + (posterior["slope"] * center).sum("feature")
    posterior["intercept"] = posterior["intercept"] - shift
    for one in terms.pooled:
        if not one.columns.labels:
            continue
        dims = f"{one.group}_feature"
        scale, center = (xr.DataArray(values, dims=dims) for values in (one.columns.scale, one.columns.center))
        slope = posterior[f"slope_{one.group}"] / scale
        posterior[f"tau_slope_{one.group}"] = posterior[f"tau_slope_{one.group}"] / scale
        posterior[f"slope_{one.group}"] = slope
        posterior[f"intercept_{one.group}"] = posterior[f"intercept_{one.group}"] - (slope * center).sum(dims)
    return posterior
