"""The few errors of the domain; wrong kinds raise ``TypeError`` and wrong contents ``ValueError``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["DataError", "LeakageError", "MissingExtraError", "NotConvergedError", "unknown_name"]


class DataError(ValueError):
    """The user's data cannot be used as it is; the message names the column, the rows and the remedy."""


class LeakageError(ValueError):
    """Something after the cutoff would have been seen."""


class NotConvergedError(RuntimeError):
    """The sampler's draws cannot be trusted, so no table is made of them."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


def unknown_name(what: str, name: object, known: Iterable[str]) -> ValueError:
    """Make the error for a name that is not known, pointing to the nearest one that is."""
    choices = sorted(known)
    near = difflib.get_close_matches(str(name), choices, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ValueError(f"unknown {what} {name!r}; {hint}choose from {', '.join(choices) or 'none'}")
