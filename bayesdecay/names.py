"""The words of the house: every column, dimension and variable name that crosses a room.

A name is typed here once and imported everywhere else, so that a table written by one part is read
by another without a mapping in between. Per-horizon columns are made by :func:`per_horizon`.
"""

from __future__ import annotations

__all__ = [
    "ACTIVITIES",
    "AMOUNT",
    "ARM",
    "AT",
    "CHAIN",
    "CI_PROB",
    "DRAW",
    "FIRST",
    "GROUP",
    "HALF_LIFE",
    "HORIZON",
    "INTEREST",
    "KIND",
    "LAST",
    "LAST_EVENT",
    "LOWER",
    "N",
    "OTHER",
    "P",
    "P_BELOW_FLOOR",
    "P_NEVER",
    "P_REACTIVATION",
    "P_RETURN",
    "RETURNED",
    "SAMPLE",
    "SHARE",
    "SUM_TIMES",
    "T",
    "TIME",
    "TIMES",
    "UPLIFT",
    "UPPER",
    "USER",
    "WEEK_AHEAD",
    "WEIGHT",
    "bounds",
    "of_kind",
    "per_horizon",
]

# An event log: one row an event.
USER = "user"
TIME = "time"
KIND = "kind"
AMOUNT = "amount"
OTHER = "other"  # the kind of all that are not named

# A history: one row a user.
N = "n"  # activities after the acquisition [count]
FIRST = "first"  # the acquisition, time 0 of the user [timestamp]
LAST = "last"  # the last activity [timestamp]
LAST_EVENT = "last_event"  # the last raw event; a session may go on after its start [timestamp]
T = "T"  # from the acquisition to the cutoff [days]
SUM_TIMES = "sum_times"  # sum of the activity times since the acquisition [days]
TIMES = "times"  # the activity times since the acquisition, rising [microseconds]
GROUP = "group"
WEIGHT = "weight"  # users that share a row of equal statistics [count]

# Snapshots: one row a (user, cutoff).
AT = "at"
RETURNED = "returned"

# Scores: one row a user.
P = "p"  # of a kind of activity: p_purchase_30d
INTEREST = "interest"  # I(at) [activities per day]
HALF_LIFE = "half_life"  # ln 2 / r [days]
P_NEVER = "p_never"
P_BELOW_FLOOR = "p_below_floor"
P_RETURN = "p_return"
ACTIVITIES = "activities"
P_REACTIVATION = "p_reactivation"
LOWER = "lower"
UPPER = "upper"

# An experiment: one row a user; what was given, and what it is judged by.
ARM = "arm"
SHARE = "share"  # of all users, those with the highest scores
UPLIFT = "uplift"  # mean outcome with an arm less that with the control [unit of the outcome]

# Dimensions and attributes of labelled results.
CHAIN = "chain"
DRAW = "draw"
SAMPLE = "sample"  # chain and draw stacked
HORIZON = "horizon"
WEEK_AHEAD = "week_ahead"  # weeks after the cutoff, from 0
CI_PROB = "ci_prob"


def per_horizon(name: str, label: str) -> str:
    """Name of a per-horizon column, ``per_horizon("p_return", "30d") == "p_return_30d"``."""
    return f"{name}_{label}"


def of_kind(name: str, kind: str) -> str:
    """Name of what is said of one kind of activities, ``of_kind("p", "purchase") == "p_purchase"``."""
    return f"{name}_{kind}"


def bounds(name: str) -> tuple[str, str]:
    """Names of the columns with the lower and the upper end of a column's credible interval."""
    return f"{name}_{LOWER}", f"{name}_{UPPER}"
