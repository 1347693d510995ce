"""One small HTML table, the way logs and histories show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

__all__ = ["card"]


def card(title: str, facts: Mapping[str, object]) -> str:
    """Make a two-column HTML table of facts under a title; everything is escaped."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(str(value))}</td></tr>'
        for name, value in facts.items()
    )
    return f"<table><caption>{escape(title)}</caption><tbody>{rows}</tbody></table>"
