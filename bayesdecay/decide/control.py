r"""How many users to hold out, so that the campaign's effect can be measured as precisely as wanted.

With :math:`n_1` users contacted, who return with probability :math:`p_1`, and :math:`n_0` held out at random, who
return with :math:`p_0`, the difference of the two shares has the variance

.. math:: \frac{p_1 (1 - p_1)}{n_1} + \frac{p_0 (1 - p_0)}{n_0} .
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri

from bayesdecay.decide.risk import check_share

__all__ = ["control_group_size"]


def control_group_size(
    p_control: float, p_contacted: float, users: int, *, half_width: float, ci_prob: float = 0.9
) -> int:
    """Fewest of the users to hold out, so that the interval of the effect is as narrow as wanted.

    Parameters
    ----------
    p_control, p_contacted : float
        Share expected to return if held out and if contacted.
    users : int
        All users, those held out and those contacted together.
    half_width : float
        Half the length of the interval of the difference of the two shares.
    ci_prob : float
        Probability of the interval.

    Returns
    -------
    int
        Users to hold out.

    Raises
    ------
    ValueError
        If a share is outside [0, 1], or so many users cannot give such an interval however they are split; the message
        says which width they can give.

    Examples
    --------
    >>> control_group_size(0.10, 0.13, 20_000, half_width=0.01)
    2969
    """
    for name, value in (("p_control", p_control), ("p_contacted", p_contacted)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"control_group_size: {name} is {value}; expected a share between 0 and 1")
    if users < 2 or not half_width > 0.0:
        raise ValueError(
            f"control_group_size: {users} users and half_width {half_width}; give at least 2 users and a width above 0"
        )
    wanted = (half_width / float(ndtri(0.5 + check_share(ci_prob, "ci_prob") / 2.0))) ** 2
    held_out, contacted = (p * (1.0 - p) for p in (p_control, p_contacted))
    size = np.arange(1, users)
    variance = held_out / size + contacted / (users - size)
    enough = np.flatnonzero(variance <= wanted)
    if not enough.size:
        best = half_width * math.sqrt(variance.min() / wanted)
        most = variance.argmin() + 1
        raise ValueError(
            f"control_group_size: {users:,} users give an interval of +- {best:.4g} at best, with {most:,} "
            f"held out; for +- {half_width:g} contact more users or be content with less"
        )
    return int(size[enough[0]])
