"""Names of features: read against the library and the log, each with one meaning or refused.

In: names such as ``"events_view_30d"``. Out: the entry of the library, the kind or column, and the window. A kind may
be called anything, even ``"view_30d"``: the log decides what a name means, and where it leaves two meanings the name is
refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bayesdecay.data.events import Events
from bayesdecay.data.feature_library import COLUMN_MARK, FEATURES, KIND_MARK, WINDOW_MARK, Feature
from bayesdecay.data.times import is_number
from bayesdecay.errors import unknown_name
from bayesdecay.names import AMOUNT, KIND, TIME, USER
from bayesdecay.units import days

__all__ = ["Asked", "needs", "read_names"]

_OPTIONAL = re.compile(r"\[(.*)\]")
_DURATION = r"\d+(?:\.\d+)?(?:s|min|h|d|w)"
_GROUPS = {KIND_MARK: "(?P<target>.+)", COLUMN_MARK: "(?P<target>.+)", WINDOW_MARK: f"(?P<window>{_DURATION})"}
_KIND_NEED, _AMOUNT_NEED = "kind=", "amount="
_ROLES = {_KIND_NEED: KIND, _AMOUNT_NEED: AMOUNT}  # an argument of read_events, and the column that it names


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A feature that somebody asks for.

    Attributes
    ----------
    name
        As it was given.
    pattern, feature
        The entry of the library.
    target
        The kind or column that it is about, if any.
    window
        Length of its window [days], infinite without one.
    """

    name: str
    pattern: str
    feature: Feature
    target: str | None
    window: float


def needs(pattern: str) -> str:
    """Tell which argument of ``read_events`` a feature needs, empty if none."""
    if COLUMN_MARK in pattern:
        return "columns= or amount="
    if KIND_MARK in pattern:
        return _KIND_NEED
    return _AMOUNT_NEED if _forms(pattern)[0] == AMOUNT else ""


def read_names(names: Sequence[str], log: Events | None) -> tuple[Asked, ...]:
    """Read names of features.

    Parameters
    ----------
    names
        The names, each once.
    log
        Whose kinds and columns they may name; None if only a history is there.

    Raises
    ------
    TypeError
        If they are one text and not a list.
    ValueError
        If a name is not known, given twice or has two meanings, its window is empty or its column holds no numbers.
    """
    if isinstance(names, str):
        raise TypeError(f"features is a list of names; write [{names!r}]")
    repeated = sorted({str(name) for name in names if list(names).count(name) > 1})
    if repeated:
        raise ValueError(f"features name {', '.join(repeated)} more than once; give each one once")
    return tuple(_read(name, log) for name in names)


def _read(name: str, log: Events | None) -> Asked:
    """Find the one meaning of a name."""
    possible = list(_readings(name))
    meant = [asked for asked in possible if _is_there(asked, log)]
    if not meant:
        raise _unknown(name, possible, log)
    if len(meant) > 1:
        told = " or ".join(f"{asked.pattern} ({asked.feature.meaning})" for asked in meant)
        raise ValueError(f"feature {name!r} can mean {told}; rename the kind or column in the log")
    asked = meant[0]
    if asked.window <= 0:
        raise ValueError(f"the window of feature {name!r} is empty; give a duration above zero, as in '30d'")
    if log is not None and asked.feature.numbers:
        _refuse_other_than_numbers(asked, log)
    return asked


def _readings(name: str) -> Iterator[Asked]:
    """Go through all that a name could mean if the log had such a kind or column."""
    for pattern, feature in FEATURES.items():
        for form in _forms(pattern):
            match = re.fullmatch(_regex(form), str(name), re.DOTALL)
            if match is None:
                continue
            found = match.groupdict()
            target = AMOUNT if needs(pattern) == _AMOUNT_NEED else found.get("target")
            window = days(found["window"]) if "window" in found else float("inf")
            yield Asked(name=name, pattern=pattern, feature=feature, target=target, window=window)


def _forms(pattern: str) -> tuple[str, ...]:
    """Write a pattern without brackets: without and with what stands in them."""
    return tuple(dict.fromkeys((_OPTIONAL.sub("", pattern), _OPTIONAL.sub(r"\1", pattern))))


def _regex(form: str) -> str:
    """Turn a pattern without brackets into a regular expression."""
    return "".join(_GROUPS.get(part, re.escape(part)) for part in re.split(rf"({'|'.join(_GROUPS)})", form))


def _is_there(asked: Asked, log: Events | None) -> bool:
    """Tell whether a history, or the log, has what a feature is about."""
    if log is None:
        return asked.feature.block is not None
    return asked.target is None or asked.target in _targets(asked.pattern, log)


def _targets(pattern: str, log: Events) -> Sequence[str]:
    """List the kinds or columns of the log that a pattern may name."""
    if KIND_MARK in pattern:
        return log.kinds
    return [column for column in log.columns if column not in (USER, TIME)]


def _refuse_other_than_numbers(asked: Asked, log: Events) -> None:
    """Refuse a column whose values cannot be added."""
    relation = log.query("SELECT * FROM {log}")
    kind = str(relation.types[relation.columns.index(str(asked.target))])
    if not is_number(kind) and kind != "BOOLEAN":
        raise ValueError(
            f"feature {asked.name!r} needs numbers, and column {asked.target!r} holds {kind}; "
            "make it numbers before, or take columns= for its last value"
        )


def _unknown(name: str, possible: Sequence[Asked], log: Events | None) -> ValueError:
    """Make the error for a name without a meaning: what the log lacks, or the nearest name that has one."""
    for asked in possible:
        need = needs(asked.pattern)
        if log is not None and need in _ROLES and _ROLES[need] not in log.columns:
            return ValueError(f"feature {name!r} needs a column that was not read; name it in read_events({need}...)")
    error = str(unknown_name("feature", name, _known(name, log))).split("choose from")[0]
    patterns = [pattern for pattern, feature in FEATURES.items() if log is not None or feature.block is not None]
    # The patterns and not the names: all kinds times all windows would bury the hint.
    return ValueError(
        f"{error}choose from {', '.join(patterns)}; features_table() tells what they say{_hint(possible, log)}"
    )


def _hint(possible: Sequence[Asked], log: Events | None) -> str:
    """Say what would give a name a meaning, if the name is no slip."""
    columns = [asked.target for asked in possible if COLUMN_MARK in asked.pattern]
    if log is None and possible:
        return "; a feature of the events needs the log as well: log="
    return f"; further columns are read by read_events(..., columns=[{columns[0]!r}])" if columns else ""


def _known(name: str, log: Events | None) -> Iterator[str]:
    """Go through the names that a history or log has a meaning for, with the window that a name was given."""
    # A bare number means days, most likely.
    ending = re.search(f"{_DURATION}$", re.sub(r"(\d)$", r"\1d", str(name)))
    window = ending[0] if ending else "30d"
    for pattern, feature in FEATURES.items():
        if log is None and feature.block is None:
            continue
        marked = KIND_MARK in pattern or COLUMN_MARK in pattern
        targets = _targets(pattern, log) if log is not None and marked else ("",)
        for form in _forms(pattern):
            with_window = form.replace(WINDOW_MARK, window)
            yield from (with_window.replace(KIND_MARK, target).replace(COLUMN_MARK, target) for target in targets)
