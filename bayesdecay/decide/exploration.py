"""Thompson sampling: offers given out as often as they may be the best, to learn from a campaign for the next one.

In: draws of P(return) and a campaign that will be repeated. Out: each user's offer. The users are parted at random;
each part gets the plan that is best in one draw of the parameters. Where the draws agree this is the best plan; where
they do not, each offer is given in proportion to the probability that it is the best. Between campaigns the model is
fitted again to all that was seen.

References
----------
Thompson, W. R. (1933). On the likelihood that one unknown probability exceeds another in view of the evidence of two
samples. *Biometrika* 25(3/4), 285-294. https://doi.org/10.1093/biomet/25.3-4.285
Russo, D. J. et al. (2018). A tutorial on Thompson sampling. *Found. Trends Mach. Learn.* 11(1), 1-96.
https://doi.org/10.1561/2200000070
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bayesdecay.decide.assignment import assign
from bayesdecay.decide.averse import limits_of
from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.prospects import prospects_of
from bayesdecay.decide.stakes import NOBODY_GETS_IT, stakes_of
from bayesdecay.names import USER

__all__ = ["explore"]


def explore(
    p: Any, campaign: Campaign, *, parts: int = 10, random_seed: int | np.random.Generator | None = None
) -> pd.DataFrame:
    """Choose offers by Thompson sampling.

    Parameters
    ----------
    p, campaign
        As for :func:`~bayesdecay.decide.targeting.choose`.
    parts : int
        How many parts the users are split into, each following a draw of its own. One part explores between campaigns
        alone, more of them within a campaign too.
    random_seed : int or Generator, optional
        Of the effects' draws, the split and the draws followed.

    Returns
    -------
    DataFrame
        A row a user: ``user``, and the name of the ``offer``, missing for nobody.

    Raises
    ------
    TypeError, ValueError
        As :func:`~bayesdecay.decide.targeting.choose`; or if there are fewer than one part.

    Notes
    -----
    Budget and capacities are split in proportion to the parts' users.
    """
    if parts < 1:
        raise ValueError(f"explore: parts is {parts}; give at least 1")
    rng = np.random.default_rng(random_seed)
    prospects = prospects_of(p, campaign, rng)
    stakes = stakes_of(prospects, campaign, campaign.excluded(prospects.users))
    part = rng.permutation(stakes.users) % parts
    followed = rng.choice(stakes.samples, parts, replace=parts > stakes.samples)
    pick = np.full(stakes.users, NOBODY_GETS_IT, dtype=np.int8)
    for place, sample in enumerate(followed):
        rows = np.flatnonzero(part == place)
        if rows.size:
            some = stakes.sampled(rows)
            profit = some.weighted(np.eye(1, some.samples, sample)[0])
            pick[rows] = assign(profit, limits_of(some)).pick
    names = np.array([*prospects.offers, None], dtype=object)
    return pd.DataFrame({USER: prospects.users, "offer": names[pick]})
