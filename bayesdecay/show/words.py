"""Numbers as people read them: rounded to what matters, thousands apart, intervals beside their middle."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bayesdecay.names import bounds

__all__ = [
    "count",
    "counted",
    "date",
    "interval",
    "interval_of",
    "level",
    "listed",
    "marked",
    "money",
    "moneyed",
    "number",
    "of_all",
    "percent",
    "percent_interval",
    "percent_of",
    "plural",
    "signed_interval",
    "span",
    "span_interval",
    "window",
    "with_interval",
]

_MISSING = "–"
# A line must not end between a number and its sign.
_PER_CENT = "\N{NO-BREAK SPACE}%"


def number(value: float) -> str:
    """Write a number with two to three significant digits, whole from 100 on: 0.0312, 0.31, 4.7, 1,882."""
    if not math.isfinite(value):
        return _MISSING if math.isnan(value) else ("∞" if value > 0 else "−∞")
    size = abs(value)
    if size >= 100 or value == 0:
        return _fixed(value, 0)
    if size >= 0.1:
        return _fixed(value, 1 if size >= 10 else 2)
    # Below a ten-thousandth zeros are counted by nobody.
    return f"{value:.2g}" if size >= 1e-4 else f"{value:.0e}" if size >= 1e-9 else "0"


def count(value: float) -> str:
    """Write a number of things: 1,882."""
    return _fixed(value, 0) if math.isfinite(value) else _MISSING


def money(value: float) -> str:
    """Write an amount of money: 1,882 or 12.50."""
    if not math.isfinite(value):
        return _MISSING
    return _fixed(value, 0 if abs(value) >= 1_000 or value == 0 else 2)


def percent(value: float) -> str:
    """Write a share: 31 %, 4.2 %, <0.1 %."""
    if not math.isfinite(value):
        return _MISSING
    if 0 < abs(value) < 0.001:
        return f"<0.1{_PER_CENT}"
    if 0.999 < value < 1:
        return f">99.9{_PER_CENT}"
    # Rounded as the share itself would be, so that 0.265 is 0.27 here and 27 % there.
    whole = 0.1 <= abs(value) <= 0.9 or value in (0, 1)
    return (_fixed(100 * float(f"{value:.2f}"), 0) if whole else _fixed(100 * value, 1)) + _PER_CENT


def interval(lower: float, upper: float) -> str:
    """Write the ends of an interval in one precision: [0.08, 0.56]."""
    if not math.isfinite(upper - lower) or lower == upper:
        return f"[{number(lower)}, {number(upper)}]"
    return _bracket(lower, upper, _digits(lower, upper, upper))


def with_interval(value: float, lower: float, upper: float) -> str:
    """Write a number with its interval: 0.31 [0.08, 0.56]; without where there is no doubt."""
    if lower == value == upper:
        return number(value)
    if not math.isfinite(value + lower + upper) or lower == upper:
        return f"{number(value)} [{number(lower)}, {number(upper)}]"
    digits = _digits(lower, upper, value)
    return f"{_fixed(value, digits)} {_bracket(lower, upper, digits)}"


def signed_interval(value: float, lower: float, upper: float) -> str:
    """Write what is added to something, with its interval: +1.3 [0.9, 1.6]."""
    return f"{'+' if value > 0 else ''}{with_interval(value, lower, upper)}"


def percent_interval(value: float, lower: float, upper: float) -> str:
    """Write a share with its interval, in percent: 72 % [51, 84]."""
    digits = 1 if upper - lower < 0.02 or value < 0.02 else 0
    return f"{_fixed(100 * value, digits)}{_PER_CENT} {_bracket(100 * lower, 100 * upper, digits)}"


def level(ci_prob: float) -> str:
    """Write the probability of an interval: 90 %."""
    return f"{100 * ci_prob:g}{_PER_CENT}"


def counted(value: float, lower: float, upper: float) -> str:
    """Write a number of things with its interval: 1,442 [1,233, 1,652]."""
    return f"{count(value)} [{count(lower)}, {count(upper)}]"


def moneyed(value: float, lower: float, upper: float) -> str:
    """Write an amount of money with its interval, all in one precision."""
    if lower == value == upper:
        return money(value)
    digits = 0 if max(abs(value), abs(lower), abs(upper)) >= 1_000 else 2
    return f"{_fixed(value, digits)} {_bracket(lower, upper, digits)}"


def of_all(part: float, whole: float) -> str:
    """Write a number of things and its share of all: 1,411 (60 %)."""
    return f"{count(part)} ({percent(part / whole)})" if whole else count(part)


def interval_of(column: str, scale: float = 1.0) -> Callable[[Mapping[str, Any]], str]:
    """Make what writes a column of a row with its interval, times ``scale``."""
    columns = (column, *bounds(column))

    def write(row: Mapping[str, Any]) -> str:
        return with_interval(*(scale * float(row[name]) for name in columns))

    return write


def percent_of(column: str) -> Callable[[Mapping[str, Any]], str]:
    """Make what writes a column of shares of a row with its interval, in percent."""
    columns = (column, *bounds(column))
    return lambda row: percent_interval(*(float(row[name]) for name in columns))


def marked(text: str, *, good: bool) -> str:
    """Put a sign before a sentence that tells good news from bad, also without colours."""
    return f"{'✓' if good else '✗'}\N{NO-BREAK SPACE}{text}"


def plural(number: int, one: str, several: str) -> str:
    """Write a number of things with their name: 1 activity, 2 activities."""
    return f"{count(number)} {one if number == 1 else several}"


def listed(parts: Iterable[str]) -> str:
    """Join as in speech: a, b and c."""
    several = list(parts)
    return " and ".join([", ".join(several[:-1]), *several[-1:]]) if len(several) > 1 else "".join(several)


def date(when: dt.date, *, short: bool = False) -> str:
    """Write a day: 30 September 1997, or 30 Sep 1997."""
    return f"{when.day} {when:%b %Y}" if short else f"{when.day} {when:%B %Y}"


def span(length: float) -> str:
    """Write a length of time [days] in the unit that people think in: 5 hours, 12 days, 4 months, 2.5 years."""
    if not math.isfinite(length):
        return "never" if length > 0 else _MISSING
    for below, unit, size in ((1.0, "hour", 1 / 24), (100.0, "day", 1.0), (730.0, "month", 365.25 / 12)):
        if length < below:
            return _of_unit(length / size, unit)
    years = length / 365.25
    return _of_unit(years, "year") if years < 100 else "over 100 years"


def window(length: float) -> str:
    """Write a length of time [days] that was chosen, not estimated, as it was chosen: 120 days, not 3.9 months."""
    whole = length >= 1 and length == round(length) and length < 1_000
    return plural(round(length), "day", "days") if whole else span(length)


def span_interval(value: float, lower: float, upper: float) -> str:
    """Write a length of time [days] with its interval: 5.2 months [3.9, 6.8], or with units where these differ."""
    texts = [span(length) for length in (value, lower, upper)]
    units = {text.split(" ", 1)[-1].removesuffix("s") for text in texts}
    if len(set(texts)) == 1:
        return texts[0]
    if len(units) == 1:
        return f"{texts[0]} [{texts[1].split()[0]}, {texts[2].split()[0]}]"
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def _of_unit(amount: float, unit: str) -> str:
    text = f"{amount:.1f}" if amount < 10 and abs(amount - round(amount)) >= 0.05 else f"{amount:.0f}"
    return f"{text} {unit}{'' if text == '1' else 's'}"


def _digits(lower: float, upper: float, middle: float) -> int:
    """Digits that the width of an interval deserves, and up to one more for two of the middle's own."""
    by_width = -math.floor(math.log10(abs(upper - lower) / 3))
    own = min(1 - math.floor(math.log10(abs(middle))), by_width + 1) if middle else by_width
    return min(max(by_width, own, 0), 6)


def _bracket(lower: float, upper: float, digits: int) -> str:
    return f"[{_fixed(lower, digits)}, {_fixed(upper, digits)}]"


def _fixed(value: float, digits: int) -> str:
    """Write a number with so many digits after the point, a minus that is one, and no minus before nothing."""
    text = f"{abs(value):,.{digits}f}"
    return f"−{text}" if value < 0 and text.strip("0.,") else text
