"""The figures; each draws one prepared table, computes nothing, and returns its axes.

The tables come from :mod:`bayesdecay.show.users`, :mod:`bayesdecay.show.outlook` and
:class:`~bayesdecay.show.checks.ForecastCheck`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bayesdecay.show.style import ACCENT, BAND, INK, QUIET, styled
from bayesdecay.show.words import count, number

__all__ = [
    "plot_calibration",
    "plot_contacts",
    "plot_half_life",
    "plot_interest",
    "plot_prior_predictive",
    "plot_probabilities",
    "plot_profit",
    "plot_ranking",
    "plot_total",
]

_PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g} %")
_COUNT = FuncFormatter(lambda amount, _: count(amount))


def plot_interest(
    curve: pd.DataFrame, activities: pd.Series | None = None, *, at: pd.Timestamp, ax: Axes | None = None
) -> Axes:
    """One user's interest over time with its band: past activities as ticks, then the decay if nothing happens.

    Parameters
    ----------
    curve : DataFrame
        ``time``, ``interest``, ``interest_lower``, ``interest_upper`` [activities per day].
    activities : Series of timestamp, optional
        Times of the user's activities.
    at : Timestamp
        The cutoff.
    """
    with styled(ax) as axes:
        per_month = curve[["interest", "interest_lower", "interest_upper"]] * 30
        times = curve["time"].to_numpy()
        band = axes.fill_between(
            times, per_month["interest_lower"], per_month["interest_upper"], color=BAND, alpha=0.7, linewidth=0
        )
        (line,) = axes.plot(times, per_month["interest"], color=INK)
        cut = axes.axvline(at, color=QUIET, linestyle="--", linewidth=1)
        handles, labels = [line, band, cut], ["interest", "interval", "cutoff"]
        if activities is not None and len(activities):
            # Just above the axis, so that no date below it is struck out.
            (ticks,) = axes.plot(
                activities,
                np.full(len(activities), 0.03),
                "|",
                color=ACCENT,
                markersize=11,
                markeredgewidth=1.6,
                clip_on=False,
                transform=axes.get_xaxis_transform(),
            )
            handles, labels = [*handles, ticks], [*labels, "activity"]
        # The first days' interval may be ten times the rest of the curve; it may leave the picture.
        highest = min(per_month["interest_upper"].max(), 3 * per_month["interest"].max())
        axes.set_ylim(0, max(highest, 1e-6))
        axes.set_xlim(times.min(), times.max())
        _dates(axes)
        axes.set_ylabel("activities per 30 days")
        axes.legend(handles, labels, ncols=len(handles), loc="lower right", bbox_to_anchor=(1, 1), handlelength=1.4)
    return axes


def plot_half_life(shares: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Users by how fast their interest fades: ``half_life`` (in words), ``share``, ``share_lower``, ``share_upper``."""
    with styled(ax) as axes:
        _bars(axes, shares["half_life"].tolist(), shares, "share")
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.set_xlabel("half-life of interest")
        axes.set_ylabel("share of users")
    return axes


def plot_probabilities(histogram: pd.DataFrame, *, what: str, ax: Axes | None = None) -> Axes:
    """Users by a probability: ``from``, ``to``, ``users``; ``what`` names the probability."""
    with styled(ax) as axes:
        width = histogram["to"] - histogram["from"]
        axes.bar(histogram["from"], histogram["users"], width=0.94 * width, align="edge", color=INK)
        axes.grid(visible=False, axis="x")
        axes.set_xlim(0, histogram["to"].max())
        axes.xaxis.set_major_formatter(_PERCENT)
        axes.yaxis.set_major_formatter(_COUNT)
        axes.set_xlabel(what)
        axes.set_ylabel("users")
    return axes


def plot_ranking(ranked: pd.DataFrame, *, what: str, ax: Axes | None = None) -> Axes:
    """Users from the likeliest on: ``rank``, ``p``, ``p_lower``, ``p_upper``; ``what`` names the probability."""
    with styled(ax) as axes:
        axes.fill_between(ranked["rank"], ranked["p_lower"], ranked["p_upper"], color=BAND, alpha=0.7, linewidth=0)
        axes.plot(ranked["rank"], ranked["p"], color=INK)
        axes.set_xlim(0, ranked["rank"].max())
        axes.set_ylim(0, 1)
        axes.xaxis.set_major_formatter(_COUNT)
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.set_xlabel("users, the likeliest first")
        axes.set_ylabel(what)
    return axes


def plot_calibration(calibration: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Forecast probabilities beside what happened: ``predicted``, ``observed`` with ``_lower`` and ``_upper``."""
    with styled(ax) as axes:
        (ideal,) = axes.plot([0, 1], [0, 1], color=QUIET, linestyle="--", linewidth=1)
        points = axes.errorbar(
            calibration["predicted"],
            calibration["observed"],
            yerr=_whiskers(calibration, "observed"),
            fmt="o",
            color=INK,
            ecolor=INK,
            elinewidth=1.2,
            markersize=5,
        )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(_PERCENT)
        axes.set_aspect("equal")
        axes.set_xlabel("forecast probability of any activity")
        axes.set_ylabel("share that was active")
        axes.legend([points, ideal], ["a tenth of the users", "perfect forecast"], loc="upper left")
    return axes


def plot_total(total: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """All users' activities since the cutoff: ``to`` [days], ``predicted`` with its interval, ``seen``."""
    with styled(ax) as axes:
        to = [0.0, *total["to"]]
        band = axes.fill_between(
            to, [0.0, *total["predicted_lower"]], [0.0, *total["predicted_upper"]], color=BAND, alpha=0.7, linewidth=0
        )
        (line,) = axes.plot(to, [0.0, *total["predicted"]], color=INK)
        (seen,) = axes.plot(to, [0.0, *total["seen"]], "o-", color=ACCENT, markersize=5, clip_on=False)
        axes.set_xlim(0, total["to"].max())
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(_COUNT)
        axes.set_xlabel("days after the cutoff")
        axes.set_ylabel("activities of all users")
        axes.legend([seen, line, band], ["seen", "predicted", "interval"], loc="upper left")
    return axes


def plot_profit(histogram: pd.DataFrame, marks: Mapping[str, float], *, ax: Axes | None = None) -> Axes:
    """The campaign's profit: ``from``, ``to``, ``share`` of the draws; ``marks`` are profits to point out, by name."""
    with styled(ax) as axes:
        width = histogram["to"] - histogram["from"]
        losing = histogram["to"] <= 0
        for inside, colour, label in ((~losing, BAND, "gain"), (losing, ACCENT, "loss")):
            axes.bar(
                histogram["from"][inside],
                histogram["share"][inside],
                width=0.94 * width[inside],
                align="edge",
                color=colour,
                hatch="///" if label == "loss" else None,
                edgecolor="white",
                label=label,
            )
        for (name, value), line in zip(marks.items(), ("-", ":", "--", "-."), strict=False):
            axes.axvline(value, color=INK, linestyle=line, linewidth=1.4, label=f"{name}: {count(value)}")
        axes.grid(visible=False, axis="x")
        axes.xaxis.set_major_formatter(_COUNT)
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.set_xlabel("profit of the whole campaign [money]")
        axes.set_ylabel("probability")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return axes


def plot_contacts(contacts: pd.DataFrame, *, chosen: int | None = None, ax: Axes | None = None) -> Axes:
    """Expected profit by number of contacts, the best first: ``contacts``, ``profit``; ``chosen`` of them are meant."""
    with styled(ax) as axes:
        axes.plot(contacts["contacts"], contacts["profit"], color=INK)
        axes.axhline(0, color=QUIET, linewidth=1)
        if chosen:
            axes.axvline(chosen, color=ACCENT, linestyle="--", linewidth=1.4, label=f"chosen: {count(chosen)}")
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1))
        axes.set_xlim(0, max(contacts["contacts"].max(), 1))
        axes.xaxis.set_major_formatter(_COUNT)
        axes.yaxis.set_major_formatter(_COUNT)
        axes.set_xlabel("users contacted, the most profitable first")
        axes.set_ylabel("expected profit [money]")
    return axes


def plot_prior_predictive(draws: pd.DataFrame, quantity: str, *, what: str = "", ax: Axes | None = None) -> Axes:
    """What the priors alone say of one quantity: a histogram of a column of draws, its middle and its 90 % marked.

    Parameters
    ----------
    draws : DataFrame
        A column a quantity, a row a draw; what is not finite is left out.
    quantity : str
        The column.
    what : str
        Label of the axis, with the unit; the column's name unless told.
    """
    with styled(ax) as axes:
        values = draws[quantity].to_numpy(dtype=float)
        values = values[np.isfinite(values)]
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        # A half-life runs from hours to centuries: only its logarithm can be looked at.
        wide = values.min() > 0 and values.max() > 100 * middle
        shown = values[(values >= np.quantile(values, 0.005)) & (values <= np.quantile(values, 0.995))]
        first, last = (shown.min(), shown.max()) if np.ptp(shown) > 0 else (middle - 0.5, middle + 0.5)
        edges = np.geomspace(first, last, 41) if wide else np.linspace(first, last, 41)
        axes.hist(shown, bins=edges.tolist(), weights=np.full(shown.size, 1 / values.size), color=BAND)
        axes.axvline(middle, color=INK, label=f"median {number(middle)}")
        for end, label in ((low, f"90 % in {number(low)} to {number(high)}"), (high, None)):
            axes.axvline(end, color=INK, linestyle=":", label=label)
        if wide:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(what or quantity.replace("_", " "))
        axes.set_ylabel("share of prior draws")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return axes


def _bars(axes: Axes, labels: list[str], table: pd.DataFrame, column: str) -> None:
    """Draw bars with whiskers for the intervals."""
    places = np.arange(len(labels))
    axes.bar(places, table[column], width=0.75, color=BAND)
    axes.errorbar(
        places, table[column], yerr=_whiskers(table, column), fmt="o", color=INK, markersize=4, elinewidth=1.4
    )
    axes.set_xticks(places, labels)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False, axis="x")


def _whiskers(table: pd.DataFrame, column: str) -> np.ndarray:
    """Distances from the middle to the ends of the interval (2, row)."""
    middle = table[column].to_numpy()
    # The mean of a skew distribution may lie beyond an end of its interval.
    ends = (middle - table[f"{column}_lower"].to_numpy(), table[f"{column}_upper"].to_numpy() - middle)
    return np.maximum(np.stack(ends), 0.0)


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
