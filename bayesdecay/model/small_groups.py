"""What the outcomes say of intercepts that were averaged over, one for each of very many small groups, such as users.

In: a posterior of the other parameters, and the rows it was learned from. Out: mean and standard deviation of each
group's intercept over the whole posterior, from which scoring draws it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from bayesdecay.model.coefficients import SMALL_GROUPS, Coefficients
from bayesdecay.model.grouped_logistic import group_moments, group_nodes
from bayesdecay.model.logit_graph import Outcome, rows_by_group
from bayesdecay.model.matrices import Design
from bayesdecay.model.terms import Terms

__all__ = ["SMALL_GROUPS", "small_groups"]

# Draws of the other parameters; the moments hardly depend on which.
_DRAWS = 50


def small_groups(posterior: xr.Dataset, terms: Terms, design: Design, outcome: Outcome) -> xr.Dataset:
    """Mean and standard deviation of each group's intercept [log-odds]: ``mean`` and ``sd`` (small_group).

    Notes
    -----
    The moments of the mixture over draws of the other parameters; an intercept's correlation with these is left out.
    """
    place = int(terms.averaged or 0)
    group = terms.pooled[place].group
    nothing = xr.Dataset({name: ("small_group", np.zeros(len(terms.pooled[place].groups))) for name in ("mean", "sd")})
    tree = xr.DataTree.from_dict({"posterior": posterior, SMALL_GROUPS: nothing})
    drawn = Coefficients.of(tree, terms, _DRAWS)
    tau = drawn.small.tau
    order, starts = rows_by_group(design.groups[:, place])
    # Without interest, and without the groups themselves: their sd is zero here, and every group is a seen one.
    silent = replace(design.rows(order), level=np.zeros((order.size, 1)), pattern=np.zeros(order.size, dtype=np.int64))
    logit, spread = drawn.logit(silent, np.random.default_rng(0)), drawn.spread(design.rows(order))
    nodes, log_weights = group_nodes(int(np.diff(starts).max()))
    mean, square = np.zeros(starts.size - 1), np.zeros(starts.size - 1)
    sign, ordered = np.where(outcome.returned[order], 1.0, -1.0), design.rows(order)
    for s in range(drawn.size):
        own = (np.ascontiguousarray(part[:, s]) for part in (logit, spread))
        row_logit, row_spread = own
        found = group_moments(
            row_logit,
            drawn.interest[s],
            row_spread,
            tau[s],
            ordered.levels_at(drawn.shared[s]),
            sign,
            outcome.weight[order],
            design.chance,
            starts,
            nodes,
            log_weights,
        )
        mean += found[0] / drawn.size
        square += found[1] / drawn.size
    return xr.Dataset(
        {
            "mean": ("small_group", mean, {"units": "log-odds"}),
            "sd": ("small_group", np.sqrt(np.maximum(square - mean**2, 0.0)), {"units": "log-odds"}),
        },
        attrs={"group": group},
    )
