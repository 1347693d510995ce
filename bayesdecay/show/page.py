"""One page: a title, the numbers that matter, a summary, sections; in one file that opens anywhere.

In: parts of :mod:`bayesdecay.show.views`. Out: HTML. Nothing is fetched, and everything from the data is escaped.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jinja2

from bayesdecay.show.views import Box, Part, Section

__all__ = ["laid_out"]


def laid_out(
    *,
    title: str,
    subtitle: str,
    boxes: Sequence[Box],
    numbers: Sequence[tuple[str, str, str]],
    summary: Sequence[Part],
    sections: Sequence[Section],
) -> str:
    """Lay out a page.

    Parameters
    ----------
    title, subtitle : str
        Heading.
    boxes : sequence of Box
        What stands above everything else.
    numbers : sequence of tuple
        Name, value, and a note below it.
    summary : sequence of parts
        What is said first.
    sections : sequence of Section
        What it rests on.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bayesdecay.show"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        numbers_of_tables=itertools.count(1).__next__,
        title=title,
        subtitle=subtitle,
        boxes=boxes,
        numbers=numbers,
        summary=summary,
        sections=sections,
    )
