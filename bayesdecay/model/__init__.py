"""The models and their mathematics; the only room that knows PyMC."""

from __future__ import annotations

__all__: list[str] = []
