"""Distributions and risk appetites as short texts: a name and its numbers, such as "normal(0.3, 0.2)".

In: the text, and how many numbers each name takes. Out: the name and the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bayesdecay.errors import unknown_name

__all__ = ["named_numbers"]


def named_numbers(text: str, counts: Mapping[str, int], *, what: str, write: str) -> tuple[str, list[float]]:
    """Read a name and its numbers; a text of numbers alone has the name "".

    Parameters
    ----------
    text : str
        Such as "normal(0.3, 0.2)" or "0.3".
    counts : mapping of str to int
        How many numbers each name takes.
    what, write : str
        What is read and how it is written, for the messages.

    Raises
    ------
    ValueError
        If the name is not known, or takes another count of numbers.
    """
    match = re.fullmatch(r"\s*([a-z]\w*)\s*(?:\(([^()]*)\))?\s*", text, flags=re.IGNORECASE)
    name, inside = (match[1].lower(), match[2] or "") if match else ("", text)
    if match and name not in counts:
        raise unknown_name(what, match[1], [known for known in counts if known])
    try:
        numbers = [float(part) for part in inside.split(",")] if inside.strip() else []
    except ValueError:
        numbers = None
    if numbers is None or len(numbers) != counts.get(name):
        raise ValueError(f"{what.split()[0]} {text!r} cannot be read; write {write}")
    return name, numbers
