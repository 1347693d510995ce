r"""How many old customers are left among the users first seen after a run-in, for a log that begins in the middle.

A user's first activity in the log is taken for the acquisition. Where the shop is older than its log that is wrong of
those who were customers before. They are told apart by a run-in of length w after the log's beginning: an old customer
is taken for a new one only if silent within it and seen after it. Of a user acquired an age a before the log, with the
log's length S,

.. math::

    q(a) = P(\text{none in } (0, w],\ \text{some in } (w, S]), \qquad
    \text{share of old} = \frac{\int_0^B q(a)\,da}{\int_0^B q(a)\,da + (S - w)},

if acquisitions were as frequent over the time B before the log as since. Without restoration, with
:math:`C(t) = e^{-ra}(1 - e^{-rt})/r` and I0 integrated out,

.. math:: q(a) = \mathrm{E}_r\big[(\beta/(\beta + C(w)))^\alpha - (\beta/(\beta + C(S)))^\alpha\big];

with it the visits before the log count, and the share is simulated. Why users are left out and not reckoned with: see
``reports/decisions/0024-left-truncation.md``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayesdecay.data.record import History
from bayesdecay.data.simulate import simulate
from bayesdecay.data.truth import Population as Truth
from bayesdecay.errors import DataError
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.population import REGULARS
from bayesdecay.names import FIRST
from bayesdecay.units import Duration, Durations, days, durations

__all__ = ["run_in_table"]

# Shares of some per cent are told to a tenth of themselves.
_USERS = 20_000
_BEGIN = pd.Timestamp("2000-01-01")


def run_in_table(
    fit: DecayFit,
    history: History,
    run_ins: Durations = ("30d", "60d", "90d", "180d"),
    *,
    shop_age: Duration,
    random_seed: int | None = None,
) -> pd.DataFrame:
    """Compare run-ins: who is left, and how many of them are old customers by what the fit says of the population.

    Parameters
    ----------
    fit
        A fit to :meth:`History.acquired_from` with a first guess of the run-in, so that old customers did not make it.
    history
        All users of the log.
    run_ins
        Lengths to compare, after the first user of the history was seen.
    shop_age
        How long the shop was open before the log begins; acquisitions are taken to have been as frequent as since.
    random_seed
        The same seed gives the same table.

    Returns
    -------
    pandas.DataFrame
        A row a run-in: ``acquired_from``, the date for :meth:`History.acquired_from`; ``users`` that are left; and
        ``share_old``, the expected share of old customers among them.

    Raises
    ------
    DataError
        If a run-in is as long as the log.
    """
    begin = pd.Timestamp(np.min(history.table[FIRST].to_numpy()))
    seen, before = (history.at - begin) / pd.Timedelta(days=1), days(shop_age)
    lengths = durations(run_ins)
    if max(lengths.values()) >= seen:
        raise DataError(f"a run-in of {max(lengths.values()):g} days leaves nothing of a log of {seen:.0f} days")
    first = (history.table[FIRST].to_numpy() - begin.to_datetime64()) / np.timedelta64(1, "D")
    old, seen_first = _simulated(fit, before, seen, random_seed)
    rows = []
    for label, length in lengths.items():
        left = seen_first > length
        row: Mapping[str, Any] = {
            "run_in": label,
            "acquired_from": begin + pd.Timedelta(days=length),
            "users": int((first >= length).sum()),
            "share_old": float(old[left].mean()) if left.any() else math.nan,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _simulated(fit: DecayFit, before: float, seen: float, random_seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Who was a customer before the log, and when each is first seen in it [days]; users never seen are left out."""
    drawn = simulate(
        _USERS,
        population=_mean(fit),
        start=_BEGIN,
        acquired_within=before + seen,
        observed=before + seen,
        random_seed=random_seed,
    )
    since = (drawn.events["time"] - _BEGIN) / pd.Timedelta(days=1) - before
    first_seen = since[since > 0].groupby(drawn.events["user"][since > 0]).min()
    acquired = (drawn.users.set_index("user")["first"] - _BEGIN) / pd.Timedelta(days=1) - before
    return acquired.loc[first_seen.index].to_numpy() <= 0, first_seen.to_numpy()


def _mean(fit: DecayFit) -> Truth:
    """The population at its posterior mean; of groups and covariates the average."""
    mean = fit.idata["posterior"].to_dataset().mean(("chain", "draw"))
    share, shift = (float(mean[name]) if name in mean else 0.0 for name in REGULARS)
    return Truth(
        half_life=math.log(2) / math.exp(float(mean["mu_log_rate"])),
        half_life_spread=float(mean["sigma_log_rate"]),
        interest=math.exp(float(mean["mu_log_interest"])),
        interest_shape=float(mean["alpha"]),
        coupling=float(mean["kappa"]),
        restoration=float(mean["rho"]),
        shoulder=json.loads(fit.idata.attrs["model"]).get("shoulder"),
        regulars=share,
        regulars_shift=shift,
    )
