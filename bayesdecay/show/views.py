"""What a page is made of: paragraphs, lists, tables and figures, ready to be laid out; nothing here knows the report.

Everything from the data is plain text here and is escaped by the template; the one exception is the SVG of a figure,
which is made here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesdecay.show.style import STYLE

__all__ = ["Box", "FigureView", "Listing", "Part", "Section", "TableView", "Text", "drawn", "pairs", "tabulated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A paragraph, under a heading of its own if it has one."""

    text: str
    heading: str = ""
    kind: str = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Sentences or terms, one below the other; a pair is a term and what it means."""

    items: tuple[str | tuple[str, str], ...]
    kind: str = "listing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Something not to be overlooked; ``tone`` is plain, bad, remark or assumption."""

    tone: str
    title: str
    items: tuple[str, ...]
    kind: str = "box"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableView:
    """A table of texts; ``numeric`` says of each column whether it holds numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    kind: str = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureView:
    """A figure as SVG, with its caption, and in ``alt`` what it shows to those who do not see it."""

    svg: Markup
    caption: str
    half: bool
    kind: str = "figure"


Part = Text | Listing | Box | TableView | FigureView


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section of the page."""

    name: str
    title: str
    parts: tuple[Part, ...]


def tabulated(frame: pd.DataFrame, caption: str, columns: Mapping[str, Callable[[Any], str] | str]) -> TableView:
    """Make a table of a data frame.

    Parameters
    ----------
    frame : DataFrame
        One row a row of the table.
    caption : str
        What the table shows.
    columns : mapping
        Heading of each column, and either the name of a column of text or what makes text of numbers of a row.
    """
    records = frame.to_dict("records")
    rows = tuple(
        tuple(str(row[told]) if isinstance(told, str) else told(row) for told in columns.values()) for row in records
    )
    # The first column names the row.
    numeric = tuple(i > 0 and not isinstance(told, str) for i, told in enumerate(columns.values()))
    return TableView(caption=caption, columns=tuple(columns), rows=rows, numeric=numeric)


def drawn(
    plot: Callable[[Axes], Axes],
    *,
    name: str,
    caption: str,
    alt: str,
    size: tuple[float, float] = (4.8, 3.0),
    half: bool = False,
) -> FigureView:
    """Draw a figure and take it as SVG that can stand within a page beside others.

    Parameters
    ----------
    plot : callable
        Draws on the axes it is given.
    name : str
        Distinct in the page; it begins every id of the drawing.
    caption, alt : str
        What is read below the figure, and in its place.
    size : tuple of float
        Width and height [inches].
    half : bool
        Whether two of them fit side by side.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        plot(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return FigureView(svg=_inline(buffer.getvalue(), name, alt), caption=caption, half=half)


def _inline(document: str, name: str, alt: str) -> Markup:
    """Take the drawing out of an SVG document, its ids made distinct, sized by its page, and with its description."""
    opening, body = re.search(r"<svg\b([^>]*)>(.*)</svg>", document, flags=re.DOTALL).groups()  # type: ignore[union-attr]
    view_box = re.search(r'viewBox="([\d. ]+)"', opening)[1]  # type: ignore[index]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # A style sheet within the drawing would hold for the whole page.
    body = re.sub(r"<style\b.*?</style>", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href")
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    described = f'<svg viewBox="{view_box}" role="img" aria-label="{escape(alt)}" stroke-linejoin="round">'
    return Markup(described + body.strip() + "</svg>")  # made by matplotlib, which escapes its texts


def pairs(items: Mapping[str, object] | Iterable[tuple[str, object]]) -> pd.DataFrame:
    """Put facts into a table of two columns of text, ``what`` and ``value``."""
    listed = items.items() if isinstance(items, Mapping) else items
    return pd.DataFrame([(str(what), str(value)) for what, value in listed], columns=["what", "value"])
