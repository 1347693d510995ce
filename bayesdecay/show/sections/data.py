"""The report's section about the data: what was read, what was odd about it, and what was made of it."""

from __future__ import annotations

from bayesdecay import names
from bayesdecay.show.content import Digest, ReportContent
from bayesdecay.show.views import Section, pairs, tabulated
from bayesdecay.show.words import count, date, of_all, window

__all__ = ["data_section"]

_UNITS = {
    "day": "a calendar day with at least one event",
    "session": "a session: events that follow each other within the session gap",
    "event": "every event at an instant of its own",
}


def data_section(content: ReportContent, digest: Digest) -> Section:
    """What was read, and what was odd about it."""
    history, unit = content.history, _UNITS[content.history.activity]
    n = history.table[names.N].to_numpy()
    facts = {
        "users with an activity up to the cutoff": count(len(history)),
        "an activity is": unit,
        "activities after the first one": count(int(n.sum())),
        "users with none": of_all(int((n == 0).sum()), len(history)),
        f"users silent for {window(digest.lapsed_after)} or longer (lapsed)": of_all(digest.lapsed, len(history)),
    }
    plain = {"What": "what", "Value": "value"}
    return Section(
        name="data",
        title="Data",
        parts=(
            tabulated(pairs(content.log.quality.facts()), "The log as it was read", plain),
            tabulated(pairs(facts), f"The users as the log stood at {date(history.at)}", plain),
        ),
    )
