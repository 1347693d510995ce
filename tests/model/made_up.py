"""A small table of snapshots, and posteriors of the reactivation model that no sampler has drawn.

Any numbers will do where the question is what is made of them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.formula import Formula
from bayesdecay.model.logit_graph import coords
from bayesdecay.model.posterior import Verdict, labelled
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.model.terms import Terms

TABLE = pd.DataFrame(
    {
        "recency": [0.0, 2.0, 3.0, 7.0, 11.0],
        "price paid": [1.0, 4.0, 2.0, 9.0, 3.0],
        "member": [True, False, True, True, False],
        "channel": ["ads", "friends", "ads", "search", "friends"],
        "my channel": ["ads", "friends", "ads", "search", "friends"],
        "segment": ["b", "a", "b", "c", "a"],
    }
)
LOG_INTEREST = np.random.default_rng(1).normal(size=(5, 3))


def terms_of(formula: str, table: pd.DataFrame = TABLE, log_interest: np.ndarray | None = None, **options) -> Terms:
    values = LOG_INTEREST if log_interest is None else log_interest
    return Terms.learn(Formula.parse(formula), table, values, **options)


def posterior_of(terms: Terms, *, draws: int = 20, random_seed: int = 1) -> xr.Dataset:
    """Draws (chain, draw) of every coefficient that a fit of these terms would have."""
    rng, labels = np.random.default_rng(random_seed), coords(terms)
    dims: dict[str, tuple[str, ...]] = {"intercept": (), "slope_interest": ()}
    if terms.slopes:
        dims["slope"] = ("feature",)
    for one in terms.pooled:
        dims |= {f"tau_intercept_{one.group}": (), f"intercept_{one.group}": (one.group,)}
        if one.columns.labels:
            varying = f"{one.group}_feature"
            dims |= {f"tau_slope_{one.group}": (varying,), f"slope_{one.group}": (one.group, varying)}
    made = {}
    for name, own in dims.items():
        values = rng.normal(scale=0.7, size=(2, draws, *(len(labels[dim]) for dim in own)))
        made[name] = (("chain", "draw", *own), np.abs(values) if name.startswith("tau_") else values)
    if not terms.formula.interest:
        made["slope_interest"] = (("chain", "draw"), np.zeros((2, draws)))
    return xr.Dataset(made, coords={dim: list(values) for dim, values in labels.items()})


def evaluated(model: pm.Model, more: list[str], *, random_seed: int) -> tuple[xr.DataTree, dict[str, np.ndarray]]:
    """A point somewhere about a model's start: as a posterior of one draw, and the values of all variables there."""
    rng, start = np.random.default_rng(random_seed), model.initial_point()
    point = {name: value + rng.normal(scale=0.7, size=np.shape(value)) for name, value in start.items()}
    names = [*(v.name for v in [*model.free_RVs, *model.deterministics]), *more]
    values = model.compile_fn(
        model.replace_rvs_by_values([model[name] for name in names]),
        inputs=model.value_vars,
        on_unused_input="ignore",
        mode="FAST_COMPILE",
    )(point)
    found = dict(zip(names, map(np.asarray, values), strict=True))
    shaped = {name: value for name, value in found.items() if value.ndim == len(model.named_vars_to_dims.get(name, ()))}
    posterior = xr.Dataset(
        {
            name: (("chain", "draw", *model.named_vars_to_dims.get(name, ())), value[None, None])
            for name, value in shaped.items()
        }
    )
    return xr.DataTree.from_dict({"posterior": posterior}), found


def returning_of(terms: Terms, told: Snapshots, *, draws: int = 20, interest: str = "uncertain") -> ReactivationFit:
    """A fit that claims to have converged."""
    verdict = Verdict(
        worst_rhat=1.0, least_ess_bulk=1e4, least_ess_tail=1e4, divergences=0, least_bfmi=1.0, draws=2 * draws, chains=2
    )
    description = {
        "terms": terms.to_dict(),
        "interest": interest,
        "missing_rows": terms.missing_rows(told.table),
        "horizon": told.horizon,
        "rows": len(told),
    }
    tree = xr.DataTree.from_dict({"posterior": posterior_of(terms, draws=draws)})
    return ReactivationFit(idata=labelled(tree, kind=ReactivationFit.KIND, model=description, verdict=verdict))
