"""Stand-ins for the two models, for tests of what is done around them; nothing is sampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesdecay.data.history import History
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.formula import Formula
from bayesdecay.model.posterior import Verdict
from tests.show import made


@dataclass(frozen=True, kw_only=True)
class ToldDecay:
    """A decay model whose fit all but states the truth, moved by what the history holds: any leak would show."""

    verdict: Verdict = made.GOOD
    calendar: Any = None
    seen: list[History] = field(default_factory=list, repr=False)

    def fit(self, history: History, *, sampling: Any, random_seed: int | None, method: str = "nuts") -> DecayFit:
        self.seen.append(history)
        shift = 1e-3 * float(np.mean(history.table["sum_times"].to_numpy()))
        fit = made.fit(history, verdict=self.verdict, mu_log_interest=np.log(0.15) + shift)
        fit.idata.attrs["tune"] = 200
        return fit


def share(past: Snapshots, decay: DecayFit, table: pd.DataFrame) -> np.ndarray:
    """P(returned) from all that may be known: the share in the past, the decay fit's interest, the user's features."""
    known = past.table["returned"].mean() + 0.1 * float(decay.idata["posterior"]["mu_log_interest"].mean()) + 0.2
    return np.clip(known * np.exp(-table["recency"].to_numpy() / 200), 0.01, 0.99)


@dataclass(frozen=True, kw_only=True)
class Says:
    """A reactivation model that says what it is told to, and keeps what it was shown."""

    law: Callable[[Snapshots, DecayFit, pd.DataFrame], np.ndarray] = share
    verdict: Verdict = made.GOOD
    formula: str = "returned ~ interest"
    averaged: int | None = None
    samples: int = 100
    learned: list[Snapshots] = field(default_factory=list, repr=False)
    forecast: list[Snapshots] = field(default_factory=list, repr=False)
    interest: str = "uncertain"

    def parsed(self) -> Formula:
        return Formula.parse(self.formula)

    def fit(self, past: Snapshots, decay: DecayFit, **_: Any) -> Any:
        past.training()
        self.learned.append(past)

        def log_likelihood(told: Snapshots, decay: DecayFit, **_: Any) -> xr.DataArray:
            self.forecast.append(told)
            p = self.law(past, decay, told.table)
            lines = np.log(np.where(told.table["returned"].to_numpy(dtype=bool), p, 1 - p))
            return xr.DataArray(np.tile(lines, (self.samples, 1)), dims=("sample", "row"))

        return SimpleNamespace(
            verdict=self.verdict,
            idata=SimpleNamespace(attrs={"tune": 200}),
            terms=SimpleNamespace(averaged=self.averaged),
            log_likelihood=log_likelihood,
        )
