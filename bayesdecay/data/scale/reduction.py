r"""From events to one row a user, in the SQL of any engine: the statement behind Spark and the warehouses.

In: rows (user, instant, ...) up to the cutoff. Out: the columns of a :class:`~bayesdecay.data.record.History`, that is
the activities :math:`0 < t_1 < \dots < t_n \le T` since the acquisition at 0 and what follows from them.

Repeated instants are merged first, which engines do before they bring a user's rows to one place: a user with a million
clicks in a day is one row then. All sums are of whole numbers, so that they do not depend on the order of additions.
"""

from __future__ import annotations

from collections.abc import Mapping

from bayesdecay.data.scale.dialects import Dialect
from bayesdecay.names import FIRST, LAST, LAST_EVENT, SUM_TIMES, TIMES, USER, N, T
from bayesdecay.units import MICROSECONDS_PER_DAY

__all__ = ["INSTANT", "REFUSED_ROWS", "reduction_sql"]

# Columns of the rows beside the user's, by our own names.
INSTANT = "instant"
REFUSED_ROWS = "refused_rows"


def reduction_sql(
    dialect: Dialect,
    seen: str,
    *,
    activity: str,
    gap: int,
    end: int,
    extra: Mapping[str, str],
    more: Mapping[str, str],
) -> str:
    """Select a history's columns from rows.

    Parameters
    ----------
    dialect
        The engine.
    seen
        Query of the rows that count: ``user``, ``instant`` [microseconds since 1970], ``refused_rows`` (1 if a row is
        none that can be used, else 0) and the columns of ``extra``.
    activity
        ``"day"``, ``"session"`` or ``"event"``.
    gap
        Session gap [microseconds].
    end
        End of the observation on the unit's clock [microseconds since 1970].
    extra
        What to keep of the rows of a user's first instant, the smallest value where they differ: the name of a
        column of the rows, by the name it gets.
    more
        Further SQL, of aggregates of ``placed`` (a row an opening) or constants, by the name it gets.
    """
    name = dialect.identifier
    user = name(USER)
    day = f"instant - MOD(MOD(instant, {MICROSECONDS_PER_DAY}) + {MICROSECONDS_PER_DAY}, {MICROSECONDS_PER_DAY})"
    x = day if activity == "day" else "instant"
    opens = "x" if activity != "session" else f"CASE WHEN previous IS NULL OR x - previous > {gap} THEN x END"
    previous = f", LAG(x) OVER (PARTITION BY {user} ORDER BY x) AS previous" if activity == "session" else ""
    known = "".join(f", MIN(known.{name(own)}) AS {name(own)}" for own in extra)
    columns = {
        N: "COUNT(placed.since) - 1",
        FIRST: dialect.stamp("MIN(placed.opened)"),
        LAST: dialect.stamp("MAX(placed.opened)"),
        LAST_EVENT: dialect.stamp("MAX(placed.latest)"),
        T: f"CAST({end} - MIN(placed.opened) AS {dialect.double}) / {MICROSECONDS_PER_DAY}",
        SUM_TIMES: f"CAST(SUM(CAST(placed.since AS {dialect.exact})) AS {dialect.double}) / {MICROSECONDS_PER_DAY}",
        TIMES: dialect.gather("placed.since"),
    }
    told = "".join(f",\n  {value} AS {name(own)}" for own, value in columns.items())
    rest = "".join(f",\n  {value} AS {name(own)}" for own, value in more.items())
    return f"""\
WITH seen AS (
{seen}
), ticks AS (
  SELECT {user}, {x} AS x, MAX(instant) AS latest, SUM(refused_rows) AS refused_rows
  FROM seen GROUP BY {user}, {x}
), openings AS (
  SELECT {user}, latest, refused_rows, {opens} AS opened
  FROM (SELECT {user}, x, latest, refused_rows{previous} FROM ticks) AS clocked
), placed AS (
  SELECT {user}, latest, refused_rows, opened, opened - MIN(opened) OVER (PARTITION BY {user}) AS since
  FROM openings
){_known_sql(dialect, extra)}
SELECT placed.{user} AS {user}{told}{known}{rest}
FROM placed{f" LEFT JOIN known ON known.{user} = placed.{user}" if extra else ""}
GROUP BY placed.{user}"""


def _known_sql(dialect: Dialect, extra: Mapping[str, str]) -> str:
    """Select what the rows of each user's first instant say."""
    if not extra:
        return ""
    user = dialect.identifier(USER)
    values = "".join(f", MIN(seen.{source}) AS {dialect.identifier(own)}" for own, source in extra.items())
    return f""", acquired AS (
  SELECT {user}, MIN(instant) AS instant FROM seen GROUP BY {user}
), known AS (
  SELECT seen.{user}{values}
  FROM seen JOIN acquired ON acquired.{user} = seen.{user} AND acquired.instant = seen.instant
  GROUP BY seen.{user}
)"""
