r"""Ends of an equal-tailed interval from few draws, such that it holds what it says.

In: draws, exchangeable with what they stand for. Out: the ends. Of n draws and one more value, each order is as likely
as any other, so that with the i-th least draw :math:`x_{(i)}`

.. math:: P(y \le x_{(i)}) = \frac{i}{n+1}, \qquad i = q\,(n+1) \;\Rightarrow\; P(y \le x_{(i)}) = q .

The ends lie between the two draws next to that place (Weibull's plotting position). The more usual q (n - 1) + 1,
numpy's ``linear``, puts both ends too far inside: of 200 draws 90 % intervals hold 89.1 %, of 50 draws 86.5 %.

References
----------
Hyndman, R. J. and Fan, Y. (1996). Sample quantiles in statistical packages. *The American Statistician* 50(4), 361-365.
https://doi.org/10.1080/00031305.1996.10473566
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["interval_ends"]


def interval_ends(draws: Any, tails: Sequence[float], *, axis: int = -1, whole: bool = False) -> NDArray[np.float64]:
    """Ends of intervals along an axis of draws, a row of the result for each of ``tails``, as in (0.05, 0.95).

    Parameters
    ----------
    whole : bool
        Take a draw itself, the next one outwards: ends of counts are counts.

    Notes
    -----
    Beyond the outermost draws nothing is known: an end stays there, and where the draws are fewer than the interval
    asks for, 19 for 90 %, it holds less than it says. Sorting, in place of ``np.quantile(method="weibull")``, is five
    times as fast over a few hundred draws.
    """
    ordered = np.sort(np.moveaxis(np.asarray(draws), axis, -1), axis=-1)
    return np.stack([_at_place(ordered, q, whole=whole) for q in tails])


def _at_place(ordered: NDArray[Any], q: float, *, whole: bool) -> NDArray[np.float64]:
    """Value at the place q (n + 1), counted from 1, of sorted draws (..., draw)."""
    size = ordered.shape[-1]
    # 0.05 and 0.95 of 200 draws are to be each other's mirror image, whatever the rounding.
    place = min(max(round(q * (size + 1), 9), 1.0), float(size)) - 1.0
    if whole:
        place = float(math.floor(place) if q < 0.5 else math.ceil(place))
    below = min(int(place), size - 1)
    above = min(below + 1, size - 1)
    low, high = ordered[..., below].astype(float), ordered[..., above].astype(float)
    if place == below:
        return low
    # Of those who never fade the half-life is infinite, and the gap between two such draws is none.
    gap = np.subtract(high, low, out=np.zeros_like(low), where=high != low)
    return np.asarray(low + (place - below) * gap)
