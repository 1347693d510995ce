"""A comparison in plain sentences: which candidate is best, which differences are noise, what cannot be relied on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayesdecay import names
from bayesdecay.show.ranking import USER_NUMBER
from bayesdecay.show.words import count, percent, plural, window

if TYPE_CHECKING:
    from bayesdecay.show.comparison import Comparison

__all__ = ["sentences"]

_WAYS = {
    "rolling": "by forecasts from each cutoff, nothing after it having been seen",
    "kfold": "by folds of users, each forecast from the others",
    "loo": "by leaving each user out (PSIS)",
}


def sentences(comparison: Comparison) -> tuple[str, ...]:
    """Say what the figures mean."""
    return tuple(_sentences(comparison))


def _sentences(found: Comparison) -> Iterator[str]:
    yield _of_rows(found)
    if found.best is None:
        yield "No candidate's fits converged, so none is best: raise draws and tune in options.sampling."
    else:
        yield _of_best(found, found.best)
        yield from _of_others(found, found.best)
        yield from _of_cutoffs(found, found.best)
    yield from _of_unconverged(found)
    yield from _of_khat(found)


def _of_rows(found: Comparison) -> str:
    returned = found.rows[names.RETURNED].to_numpy()
    users, cutoffs = (np.unique(found.rows[name].to_numpy()).size for name in (USER_NUMBER, names.AT))
    left = f" ({plural(found.left_out, 'row', 'rows')} left out that not all candidates have)" if found.left_out else ""
    lapsed = f" silent for {window(found.lapsed_after)}" if found.lapsed_after else ""
    return (
        f"Judged {_WAYS[found.by]}: {count(returned.size)} rows of {plural(users, 'user', 'users')}{lapsed} at "
        f"{plural(cutoffs, 'cutoff', 'cutoffs')}{left}, of which {percent(returned.mean())} returned within "
        f"{window(found.horizon)}."
    )


def _of_best(found: Comparison, best: str) -> str:
    row, share = found.table.loc[best], float(found.rows[names.RETURNED].mean())
    known = -share * np.log(share) - (1 - share) * np.log1p(-share) if 0 < share < 1 else 0.0
    return (
        f"“{best}” has the smallest log loss, {row['log_loss']:.4f} ± {2 * row['log_loss_se']:.4f} (± is two standard "
        f"errors); the share that returned, given to everybody, would have {known:.4f}."
    )


def _of_others(found: Comparison, best: str) -> Iterator[str]:
    others = found.table[found.table["difference"].notna() & (found.table.index != best)]
    noise, worse = others[others["noise"]], others[~others["noise"]]
    if len(noise) == 1:
        ((name, row),) = noise.iterrows()
        yield (
            f"The difference to “{name}”, {_difference(row)}, is noise: keep the simpler one of the two, or what you "
            "have."
        )
    elif len(noise):
        told = ", ".join(f"“{name}” ({_difference(row)})" for name, row in noise.iterrows())
        yield f"The differences to {told} are noise: keep the simplest of these {len(noise) + 1}, or what you have."
    if len(worse):
        told = ", ".join(f"“{name}” ({_difference(row)})" for name, row in worse.iterrows())
        yield f"Worse, beyond what chance explains: {told}."
    if len(others):
        part = found.table[found.table["weight"] >= 0.005].sort_values("weight", ascending=False)
        told = ", ".join(f"{weight:.2f} “{name}”" for name, weight in part["weight"].items())
        doubt = "; between candidates that differ by noise alone the weights are noise too" if len(noise) else ""
        yield f"Mixed for the best forecast (stacking): {told}{doubt}."


def _of_cutoffs(found: Comparison, best: str) -> Iterator[str]:
    if len(found.table) > 1 and len(found.by_cutoff.columns) == 1:
        yield "This is so at one cutoff; of other times more cutoffs would tell."
    able = found.by_cutoff.loc[found.table["difference"].notna()]
    first = {
        at: str(name) for at, name in able.idxmin().items() if name != best and able.loc[best, at] > able[at].min()
    }
    if first:
        told = ", ".join(f"“{name}” at {at:%Y-%m-%d}" for at, name in first.items())
        yield f"The best of all is not so at every cutoff: {told}."


def _difference(row: pd.Series) -> str:
    return f"{row['difference']:.4f} ± {2 * row['difference_se']:.4f}"


def _of_unconverged(found: Comparison) -> Iterator[str]:
    for name, row in found.table[~found.table["converged"]].iterrows():
        effect = "its scores may be wrong" if found.allow_unconverged else "it is left out of the ranking"
        yield f"“{name}”, {effect}: {row['verdict']}."


def _of_khat(found: Comparison) -> Iterator[str]:
    if "bad_khat" not in found.table:
        return
    for name, row in found.table[found.table["bad_khat"] > 0].iterrows():
        yield (
            f"“{name}”: leaving out {plural(int(row['bad_khat']), 'user', 'users')} changes the fit too much for "
            f"leave-one-out (k-hat up to {row['khat']:.2f}), so its score is not reliable; compare by='kfold'."
        )
