"""A campaign as it was described, in a file of TOML or by options, and brought to a log.

In: a file such as ::

    value = 20.0               # what one user who returns is worth
    budget = 500.0
    control = 0.1
    exclude = "opted-out.txt"

    [offers.coupon]
    cost = 0.1
    cost_if_returns = 4.0
    effect = "normal(0.6, 0.3)"
    capacity = 300

Out: :class:`Described`, and with a log a :class:`~bayesdecay.doors.job.Job`. Every key that is not known and every
value that cannot be is refused with the file, the key and the remedy.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bayesdecay.data.events import Events
from bayesdecay.data.id_list import ids_in_file, ids_of_log
from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.effects import Effect
from bayesdecay.decide.offers import Offer
from bayesdecay.decide.risk import Risk
from bayesdecay.doors.job import Job
from bayesdecay.errors import unknown_name
from bayesdecay.show.words import plural

__all__ = ["Described", "read_campaign"]

# Kinds of values: what TOML makes of them, and how they are written.
_NUMBER, _WHOLE = ((int, float), "a number, such as 0.5"), ((int,), "a whole number, such as 300")
_TEXT, _TABLE = ((str,), "a text in quotes"), ((dict,), "a table, such as [offers.e-mail] and below it its keys")
_EFFECT = ((str, int, float), 'a text such as "normal(0.3, 0.2)"')
_IDS = ((str, list), 'the path of a file in quotes, or a list of ids such as ["0017", "0024"]')
_KEYS = MappingProxyType(
    {
        "value": _NUMBER,
        "budget": _NUMBER,
        "control": _NUMBER,
        "exclude": _IDS,
        "exclude_column": _TEXT,
        "offers": _TABLE,
    }
)
_OFFER_KEYS = MappingProxyType({"cost": _NUMBER, "cost_if_returns": _NUMBER, "effect": _EFFECT, "capacity": _WHOLE})
# What must be there, and how it is said.
_NEEDED = MappingProxyType(
    {
        "value": "say what one user who returns is worth, as in value = 20",
        "offers": "describe one at least, as in [offers.e-mail] and below it cost = 0.1, effect = 'normal(0.3, 0.2)'",
    }
)
_NEEDED_OF_OFFER = MappingProxyType(
    {
        "cost": "say what one contact costs, as in cost = 0.1",
        "effect": "say what it is assumed to do to the log-odds of returning, as in effect = 'normal(0.3, 0.2)'",
    }
)
# Keys that people look for in the file.
_ELSEWHERE = MappingProxyType({"risk": "--risk", "horizon": "--horizon", "horizons": "--horizon"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A campaign as it was described, before a log is looked at.

    Attributes
    ----------
    campaign : Campaign
        The campaign; nobody is excluded yet.
    risk : Risk
        The risk appetite.
    exclude : tuple of str
        Ids of users who may not be contacted, as they were written.
    source : str
        Where these stand, for messages.
    """

    campaign: Campaign
    risk: Risk = field(default_factory=Risk.neutral)
    exclude: tuple[str, ...] = ()
    source: str = ""

    def job(self, job: Job, log: Events) -> Job:
        """Return the job with this campaign, its excluded users named by the ids of the log, and a note on the others.

        Raises
        ------
        ValueError
            If none of the ids to exclude is a user of the log.
        """
        if not self.exclude:
            return replace(job, campaign=self.campaign, risk=self.risk)
        known = ids_of_log(log, self.exclude)
        if not known.users:
            (row,) = log.query("SELECT user FROM {log} LIMIT 1").fetchall()
            raise ValueError(
                f"{self.source}: none of the {len(self.exclude):,} ids is a user of the log, so nobody would be left "
                f"out; the log's ids are such as {row[0]!r}, these such as {self.exclude[0]!r}: write them alike"
            )
        note = f"{self.source}: {plural(len(known.users), 'user', 'users')} of the log may not be contacted"
        if known.strangers:
            note += f"; {len(known.strangers):,} of the ids are of no user of the log, such as {known.strangers[0]!r}"
        campaign = replace(self.campaign, exclude=known.users)
        return replace(job, campaign=campaign, risk=self.risk, notes=(*job.notes, note))


def read_campaign(path: Path, *, horizon: str, user: str) -> Described:
    """Read a campaign file; paths in it are seen from its own folder.

    Parameters
    ----------
    path : Path
        The file.
    horizon : str
        The window that the campaign is about, such as "30d".
    user : str
        The log's column of ids: that of the file to exclude too, unless ``exclude_column`` tells another.

    Raises
    ------
    OSError
        If a file is not there.
    TypeError, ValueError
        If it cannot be used; the message names the file, the key and the remedy.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--campaign {path}: there is no such file; check the path")
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as TOML: {error}") from error
    _check_keys(str(path), told, _KEYS, of_others=(_OFFER_KEYS, "an offer, below its [offers.NAME]"))
    # Before what is missing: a value written below an offer is one of the offer.
    offers = {name: _offer(f"{path}: offers.{name}", one) for name, one in told.get("offers", {}).items()}
    _check_whole(str(path), told, _NEEDED)
    if not offers:
        raise ValueError(f"{path}: offers is empty; {_NEEDED['offers']}")
    with _of(str(path)):
        plain = {name: told[name] for name in ("value", "budget", "control") if name in told}
        campaign = Campaign(offers=offers, horizon=horizon, **plain)
    exclude, source = _excluded(path, told, user)
    return Described(campaign=campaign, exclude=exclude, source=source)


def _offer(where: str, told: Any) -> Offer:
    """Make one offer of its table."""
    _check(where, told, _TABLE)
    _check_keys(where, told, _OFFER_KEYS, of_others=(_KEYS, "the top, above the first [offers.NAME]"))
    _check_whole(where, told, _NEEDED_OF_OFFER)
    with _of(where):
        return Offer(**{**told, "effect": Effect.from_text(str(told["effect"]))})


def _excluded(path: Path, told: Mapping[str, Any], user: str) -> tuple[tuple[str, ...], str]:
    """Read who may not be contacted, as written, and say where that stands."""
    exclude, column = told.get("exclude", []), told.get("exclude_column", user)
    if isinstance(exclude, str):
        source = f"{path}: exclude = {exclude!r}"
        with _of(source):
            return ids_in_file(path.parent / Path(exclude).expanduser(), column), source
    if "exclude_column" in told:
        raise ValueError(f"{path}: exclude_column is the column of a file; give that too, as in exclude = 'users.csv'")
    for one in exclude:
        _check(f"{path}: an id in exclude", one, ((int, str), "a whole number, or a text in quotes"))
    return tuple(dict.fromkeys(str(one) for one in exclude)), f"{path}: exclude"


def _check_keys(
    where: str, told: Mapping[str, Any], known: Mapping[str, Any], *, of_others: tuple[Mapping[str, Any], str]
) -> None:
    """Refuse unknown keys, and values of another kind; a key in the wrong place is told its place."""
    others, place = of_others
    for name, value in told.items():
        if name in others:
            raise ValueError(f"{where}: {name} stands in the wrong place; it belongs to {place}")
        if name in _ELSEWHERE:
            raise ValueError(f"{where}: {name} is no key of this file; it is given by the option {_ELSEWHERE[name]}")
        if name not in known:
            raise ValueError(f"{where}: {unknown_name('key', name, known)}")
        _check(f"{where}: {name}", value, known[name])


def _check_whole(where: str, told: Mapping[str, Any], needed: Mapping[str, str]) -> None:
    """Refuse a table that lacks a key."""
    for name, remedy in needed.items():
        if name not in told:
            raise ValueError(f"{where}: {name} is missing; {remedy}")


def _check(what: str, value: Any, kind: tuple[tuple[type, ...], str]) -> None:
    types, written = kind
    if isinstance(value, bool) or not isinstance(value, types):
        raise TypeError(f"{what} is {value!r}; write {written}")


@contextmanager
def _of(where: str) -> Iterator[None]:
    """Say of which file and key an error is."""
    try:
        yield
    except (OSError, TypeError, ValueError) as error:
        text = str(error).removeprefix("campaign: ")
        if text.startswith("unknown column"):
            text += "; tell the column of ids by exclude_column = '...'"
        # Of the kinds of errors only these three matter to a command.
        kind = next(kind for kind in (OSError, TypeError, ValueError) if isinstance(error, kind))
        raise kind(f"{where}: {text}") from error
