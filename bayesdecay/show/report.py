"""The report: one HTML file that opens anywhere, in the order of somebody who has to decide.

In: :class:`ReportContent`, the objects of one run. Out: a file with a summary in sentences, whether to believe it, and
the sections that it rests on. Nothing is fetched from anywhere, and everything from the data is escaped.
"""

from __future__ import annotations

from pathlib import Path

from bayesdecay.decide.columns import CONTACTS, CVAR, P_LOSS, PROFIT, SPEND
from bayesdecay.decide.plan import Plan
from bayesdecay.files import replacing
from bayesdecay.names import HORIZON, bounds
from bayesdecay.show.content import Digest, ReportContent
from bayesdecay.show.foreseen import in_numbers
from bayesdecay.show.page import laid_out
from bayesdecay.show.sections.contact import assumption, contact_section, recommendation
from bayesdecay.show.sections.data import data_section
from bayesdecay.show.sections.held_out import held_out_section, judged
from bayesdecay.show.sections.interest import interest_section, restoration_sentence
from bayesdecay.show.sections.method import glossary_section, method_section
from bayesdecay.show.sections.returning import returning_section
from bayesdecay.show.views import Box, Part, Text
from bayesdecay.show.words import count, counted, date, level, marked, money, moneyed, of_all, percent, window

__all__ = ["ReportContent", "render_report", "write_report"]


def write_report(path: str | Path, content: ReportContent) -> Path:
    """Write the report to one HTML file, whole or not at all.

    Parameters
    ----------
    path : path
        The file; its folder must exist.
    content : ReportContent
        What to report.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    """
    page = render_report(content)
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return Path(path)


def render_report(content: ReportContent) -> str:
    """Make the report's HTML."""
    digest = Digest.of(content)
    sections = (
        data_section(content, digest),
        interest_section(content, digest),
        returning_section(content, digest),
        contact_section(content.plan),
        held_out_section(content.check, in_numbers(content.decay)),
        method_section(content),
        glossary_section(),
    )
    return laid_out(
        title=content.title,
        subtitle=f"As the log stood at the end of {date(content.history.at)}. Numbers in brackets are the ends of "
        f"{level(content.scores.ci_prob)} intervals.",
        boxes=(*_alarms(content), *_remarks(content)),
        numbers=_numbers(content, digest),
        summary=_summary(content, digest),
        sections=sections,
    )


def _alarms(content: ReportContent) -> tuple[Box, ...]:
    """One box, on top, if any fit must not be believed."""
    fits = {"decay model": content.decay.verdict}
    fits |= {f"reactivation model ({label})": fit.verdict for label, fit in content.reactivation.items()}
    faults = tuple(f"The {name}: {fault}." for name, verdict in fits.items() for fault in verdict.faults)
    if not faults:
        return ()
    return (Box(tone="bad", title="NOT CONVERGED: do not act upon the numbers in this report", items=faults),)


def _remarks(content: ReportContent) -> tuple[Box, ...]:
    """One box below the alarms for what a reader must know first."""
    return (Box(tone="remark", title="Remarks on this run", items=content.notes),) if content.notes else ()


def _numbers(content: ReportContent, digest: Digest) -> list[tuple[str, str, str]]:
    """Return the numbers that matter: name, value, and a note below it."""
    users = len(content.history)
    lapsed = f"{percent(digest.lapsed / users)}, silent for {window(digest.lapsed_after)} or longer"
    told = [("Users", count(users), ""), ("Lapsed", count(digest.lapsed), lapsed)]
    for row in digest.returns.to_dict("records"):
        lower, upper = (row[name] for name in bounds("users"))
        note = f"users expected, [{count(lower)}, {count(upper)}]"
        told.append((f"Active within {window(digest.labels[row[HORIZON]])}", count(row["users"]), note))
    return told + (_plan_numbers(content.plan) if content.plan is not None else [])


def _plan_numbers(plan: Plan) -> list[tuple[str, str, str]]:
    row = plan.summary()
    lower, upper = (row[name] for name in bounds(PROFIT))
    profit, _, ends = moneyed(row[PROFIT], lower, upper).partition(" ")
    share = 100 * (1 - plan.risk_level)
    return [
        ("Contacts", count(row[CONTACTS]), f"of {count(len(plan.table))} candidates"),
        ("Spend", money(row[SPEND]), _budget(plan)),
        ("Expected profit", profit, ends),
        ("P(loss)", percent(row[P_LOSS]), f"worst {share:.3g} %: {money(row[CVAR])} on average"),
    ]


def _budget(plan: Plan) -> str:
    budget = plan.campaign.budget
    return "no budget given" if budget is None else f"of a budget of {money(budget)}"


def _summary(content: ReportContent, digest: Digest) -> tuple[Part, ...]:
    """Say what is expected, what to do, what that rests on, and whether to believe it."""
    parts: list[Part] = [Text(text=_outlook(content, digest))]
    if content.plan is not None:
        parts += [Text(text=recommendation(content.plan)), assumption(content.plan)]
    else:
        parts.append(Text(text="No campaign was planned, so nothing is said about whom to contact."))
    return (*parts, _trust(content))


def _outlook(content: ReportContent, digest: Digest) -> str:
    total = len(content.history)
    until = (
        f"By {date(content.history.at)}, {count(total)} users had been active, and "
        f"{of_all(digest.lapsed, total)} of them had been silent for {window(digest.lapsed_after)} or longer."
    )
    told = [until]
    for row in digest.returns.to_dict("records"):
        numbers = counted(row["users"], *(row[name] for name in bounds("users")))
        told.append(f"Within {window(digest.labels[row[HORIZON]])}, {numbers} of all users are expected to be active.")
    return " ".join([*told, restoration_sentence(digest, content.scores.ci_prob)])


def _trust(content: ReportContent) -> Box:
    """Whether to believe the numbers: convergence, then the held-out check."""
    fits = {"decay model": content.decay.verdict}
    fits |= {f"reactivation model ({label})": fit.verdict for label, fit in content.reactivation.items()}
    failed = [name for name, verdict in fits.items() if not verdict.converged]
    sampler = (
        f"The sampler did NOT converge for the {' and the '.join(failed)}."
        if failed
        else f"The sampler converged for every fit: {', '.join(fits)}."
    )
    held_out = judged(content.check) if content.check is not None else ("How such statements do was not checked.",)
    return Box(tone="plain", title="Can this be trusted?", items=(marked(sampler, good=not failed), *held_out))
