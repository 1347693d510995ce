r"""The table of a comparison: from what each candidate said of each row to scores, differences and weights.

In: forecasts of held-out rows. Out: rows as labelled draws, and a row a candidate, the best first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesdecay import names
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.leave_out import good_k
from bayesdecay.show import clustered
from bayesdecay.show.held_out import HeldOut, user_numbers
from bayesdecay.show.stacking import stacking_weights

__all__ = ["CANDIDATE", "ELPD", "USER_NUMBER", "labelled_rows", "ranking"]

Floats = NDArray[np.float64]

CANDIDATE, ELPD, USER_NUMBER = "candidate", "elpd", "user_number"
# No forecast is surer than this: one that was, and failed, would make every sum over the rows infinite.
_SUREST = 1e-12
# Differences within two standard errors are no differences; nor are those of less than four nats in all, whose
# standard error is not to be relied on (Sivula et al.).
_ERRORS, _NATS = 2.0, 4.0


def labelled_rows(found: Mapping[str, HeldOut], judged: Snapshots) -> xr.Dataset:
    """What each candidate said of each row (candidate, row), beside what happened."""
    returned = judged.table[names.RETURNED].to_numpy(dtype=bool)
    p = np.clip(np.stack([one.p for one in found.values()]), _SUREST, 1.0 - _SUREST)
    dims = (CANDIDATE, "row")
    rows = xr.Dataset(
        {
            names.P_REACTIVATION: (dims, p),
            ELPD: (dims, np.log(np.where(returned, p, 1.0 - p)), {"units": "nat"}),
        },
        coords={
            CANDIDATE: list(found),
            names.USER: ("row", judged.table[names.USER].to_numpy()),
            names.AT: ("row", judged.table[names.AT].to_numpy()),
            names.RETURNED: ("row", returned),
            USER_NUMBER: ("row", user_numbers(judged)),
        },
    )
    khat = [one.khat for one in found.values() if one.khat is not None]
    return rows.assign(khat=(dims, np.stack(khat))) if khat else rows


def ranking(found: Mapping[str, HeldOut], rows: xr.Dataset, *, allow_unconverged: bool) -> pd.DataFrame:
    """Make the row of each candidate, see :class:`bayesdecay.show.comparison.Comparison`."""
    returned, user = rows[names.RETURNED].to_numpy(), rows[USER_NUMBER].to_numpy()
    elpd = dict(zip(found, rows[ELPD].to_numpy(), strict=True))
    p = dict(zip(found, rows[names.P_REACTIVATION].to_numpy(), strict=True))
    table = pd.DataFrame({name: _scores(p[name], elpd[name], returned, user) for name in found}).T
    able = [name for name, one in found.items() if allow_unconverged or _converged(one)]
    table = table.join(_against(elpd, able, user))
    table["noise"] = table["noise"].eq(True)  # those out of the ranking have none
    if any(one.khat is not None for one in found.values()):
        table[["khat", "bad_khat"]] = [_khat(one, user) for one in found.values()]
    table["converged"] = [_converged(one) for one in found.values()]
    table["verdict"] = [_said(one) for one in found.values()]
    table["seconds"] = [one.seconds for one in found.values()]
    table.index.name = CANDIDATE
    return table.sort_values(["difference", "log_loss"], na_position="last")


def _scores(p: Floats, elpd: Floats, returned: NDArray[np.bool_], user: NDArray[np.int64]) -> dict[str, float]:
    """Each score with its standard error."""
    found = {
        "log_loss": clustered.mean(-elpd, user),
        "brier": clustered.mean(np.square(p - returned), user),
        "auc": clustered.area_under_curve(p, returned, user),
        "calibration_error": clustered.calibration_error(p, returned, user),
    }
    row = {ELPD: float(elpd.sum()), "elpd_se": found["log_loss"][1] * elpd.size}
    for name, (value, error) in found.items():
        row |= {name: value, f"{name}_se": error}
    return row


def _against(elpd: Mapping[str, Floats], able: list[str], user: NDArray[np.int64]) -> pd.DataFrame:
    """Differences to the best of those that may be, and weights; NaN for the others."""
    columns = ["difference", "difference_se", "noise", "weight"]
    if not able:
        return pd.DataFrame(np.nan, index=list(elpd), columns=columns)
    best = max(able, key=lambda name: float(elpd[name].sum()))
    weights = stacking_weights(np.stack([elpd[name] for name in able]))
    rows = {}
    for name, weight in zip(able, weights, strict=True):
        value, error = clustered.mean(elpd[best] - elpd[name], user)
        noise = value <= _ERRORS * error or value * user.size < _NATS
        rows[name] = (value, error, noise, weight)
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).reindex(list(elpd))


def _khat(one: HeldOut, user: NDArray[np.int64]) -> tuple[float, float]:
    """Worst k-hat, and how many users have a bad one."""
    if one.khat is None:
        return np.nan, np.nan
    _, first = np.unique(user, return_index=True)
    return float(one.khat.max()), float((one.khat[first] > good_k(one.draws)).sum())


def _converged(one: HeldOut) -> bool:
    return all(verdict.converged for verdict in one.verdicts.values())


def _said(one: HeldOut) -> str:
    """Whether all fits converged, or what is wrong with the first that did not."""
    for what, verdict in one.verdicts.items():
        if not verdict.converged:
            return f"NOT CONVERGED: {what}: {'; '.join(verdict.faults)}"
    of_chains = [verdict for verdict in one.verdicts.values() if not verdict.proposals]
    weighted = [verdict for verdict in one.verdicts.values() if verdict.proposals]
    figures = [f"R-hat up to {max(v.worst_rhat for v in of_chains):.3f}"] if of_chains else []
    figures += [f"k-hat up to {max(v.k_hat for v in weighted):.2f}"] if weighted else []
    least = min(*(v.least_ess_bulk for v in of_chains), *(v.effective_draws for v in weighted), math.inf)
    return f"converged ({len(one.verdicts)} fits, {', '.join(figures)}, ESS from {least:.0f})"
