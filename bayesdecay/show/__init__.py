"""Checks, plots, tables and the report; nothing is computed that a table does not hold."""

from __future__ import annotations

__all__: list[str] = []
