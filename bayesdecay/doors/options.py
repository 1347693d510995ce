"""Options that several commands share; what is written of each here is what ``--help`` shows.

Groups: how to read a log and what counts in it, which times the statements are about, what a campaign is, which saved
fits to use, how to sample, and what holds for every result.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

import bayesdecay

if TYPE_CHECKING:
    from bayesdecay.data.calendar import Calendar
    from bayesdecay.data.events import Events
    from bayesdecay.doors.campaign_file import Described
    from bayesdecay.model.decay import DecayModel
    from bayesdecay.model.sampling import Sampling

__all__ = [
    "CalendarOptions",
    "CampaignOptions",
    "DecayFile",
    "FitFiles",
    "HistoryFile",
    "ModelOptions",
    "LogOptions",
    "LogSource",
    "ResultOptions",
    "SamplingOptions",
    "WindowOptions",
]

LogSource = Annotated[
    str, Parameter(help="Event log, a row an event: a Parquet or CSV file, or a pattern such as 'logs/*.parquet'.")
]
HistoryFile = Annotated[
    Path, Parameter(help="Parquet file written by 'bayesdecay summarize', or what a warehouse unloaded.")
]
DecayFile = Annotated[Path, Parameter(help="Fit written by 'bayesdecay fit', or decay.nc of 'bayesdecay run'.")]


@Parameter(name="*", group=Group("Log", sort_key=1))
@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """How to read a log, and what counts in it.

    Parameters
    ----------
    user
        Column with the user's id, of any type.
    time
        Column with the time of the event.
    kind
        Column with the kind of event, such as view or purchase; needed for --kinds.
    kinds
        Count these kinds of events only, as in purchase,cart; all if not given.
    amount
        Column with the amount of the event [money]; it is checked, the models do not use it.
    timezone
        Time zone of the log, as in Europe/Berlin; days begin at its midnight. As written in the log if not given.
    time_unit
        Unit of times that are numbers since 1970: s, ms, us, ns or d.
    activity
        What counts once: a calendar 'day' with events, a 'session', or every 'event'. Clicks come in bursts, so days
        or sessions are nearly always right.
    session_gap
        Silence that ends a session, for --activity session; as in 30min or 2h.
    group
        Column such as the channel; half-lives and interest may then differ between its groups, and small groups
        learn from the others.
    at
        Cutoff, as in 2024-06-30: the day is seen to its end and nothing after it. The end of the log if not given;
        an earlier day leaves something to check the forecasts on.
    memory_limit
        Memory for reading and sorting the log, as in 2GB; what does not fit goes to the system's temporary folder.
    """

    user: str = "user"
    time: str = "time"
    kind: str | None = None
    kinds: str | None = None
    amount: str | None = None
    timezone: str | None = None
    time_unit: str | None = None
    activity: str = "day"
    session_gap: str = "30min"
    group: str | None = None
    at: str | None = None
    memory_limit: str | None = None

    def read(self, source: str) -> Events:
        """Read and check the log."""
        return bayesdecay.read_events(
            source,
            user=self.user,
            time=self.time,
            kind=self.kind,
            amount=self.amount,
            columns=[self.group] if self.group else [],
            timezone=self.timezone,
            time_unit=self.time_unit,
            resources=bayesdecay.Resources(memory_limit=self.memory_limit),
        )

    @property
    def counting(self) -> dict[str, Any]:
        """Arguments of ``summarize`` and of ``Job`` that say what counts, up to when."""
        kinds = tuple(kind.strip() for kind in self.kinds.split(",")) if self.kinds else None
        what = {"activity": self.activity, "session_gap": self.session_gap, "kinds": kinds, "group": self.group}
        return {"at": self.at, **what}


@Parameter(name="*", group=Group("Times", sort_key=2))
@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOptions:
    """Which times the statements are about.

    Parameters
    ----------
    horizon
        Windows after the cutoff in which users return or not, parted by commas: a number and s, min, h, d or w, as in
        30d or 12w. A campaign is about the longest.
    lapsed_after
        Silence after which a user counts as lapsed, and is a candidate of the campaign; as in 60d.
    acquired_from
        Learn how interest fades only from users first seen on or after this date, and score all: for a log that begins
        later than the shop, whose first users are mostly old customers. All if not given.
    """

    horizon: str = "30d,90d"
    lapsed_after: str = "60d"
    acquired_from: str | None = None


@Parameter(name="*", group=Group("Times", sort_key=2))
@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarOptions:
    """What is known of the days past and to come.

    Parameters
    ----------
    calendar
        CSV file of what makes all users more or less active: columns from (a date, a date without a year for every
        year, a weekday or a month), until (the last day; empty for one day), factor (0 for closed, 1.4 for 40 % more
        than on an average day of the log) and, if needed, known (the date since when it is known).
    """

    calendar: Path | None = None

    def read(self) -> Calendar | None:
        """Read the calendar; None where none is given."""
        return None if self.calendar is None else bayesdecay.read_calendar(self.calendar)


@Parameter(name="*", group=Group("Model", sort_key=3))
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """What interest may do, and what is known of the days.

    Parameters
    ----------
    shoulder
        Age from which on interest falls by a power law and no longer exponentially, as in 30d; 'none' for the
        exponential law. Found in the log if not given; 'check --laws' compares some.
    regulars
        Some users' interest does not fade at all; how many is learned. Found in the log if neither this nor
        --no-regulars is given.
    """

    shoulder: str | None = None
    regulars: bool | None = None
    calendar: CalendarOptions = field(default_factory=CalendarOptions)

    def model(self, *, restoration: float | None = None) -> DecayModel:
        """Make the decay model."""
        shoulder = math.inf if self.shoulder == "none" else self.shoulder
        return bayesdecay.DecayModel(
            restoration=restoration, shoulder=shoulder, regulars=self.regulars, calendar=self.calendar.read()
        )


@Parameter(name="*", group=Group("Campaign", sort_key=4))
@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignOptions:
    """What a campaign costs and brings, by options for one kind of contact, or by a file.

    Parameters
    ----------
    cost
        Cost of one contact, such as 0.5 [money, in your currency].
    value
        What one user who returns is worth, such as a margin of 20 [money].
    effect
        What a contact is assumed to do to the log-odds of returning, with your doubt about it: 'normal(0.3, 0.2)'
        multiplies the odds by exp(0.3) = 1.35, give or take; '0.3' claims no doubt; 'none' no effect. It is
        'normal(0.3, 0.2)' if not given. A log without a randomised test cannot tell it.
    budget
        The most that all contacts together may cost, such as 500 [money]; no limit if not given.
    campaign
        File in place of these four, such as campaign.toml, for several offers with capacities, users who may not be
        contacted and a control group.
    risk
        How much risk is borne: 'neutral' (the highest expected profit; if not given), 'cvar(0.95, 0.5)' (less 0.5 times
        the shortfall of the worst 5 % of cases) or 'max_loss_probability(0.05)' (P(loss) of at most 5 %).
    """

    cost: float | None = None
    value: float | None = None
    effect: str | None = None
    budget: float | None = None
    campaign: Path | None = None
    risk: str | None = None

    def described(self, horizon: str, user: str) -> Described | None:
        """Return what was described, None where nothing is said of a campaign; ``user`` is the log's column of ids."""
        if self.campaign is None and self.cost is None and self.value is None:
            told = [f"--{name}" for name in ("effect", "budget", "risk") if getattr(self, name) is not None]
            if told:
                raise ValueError(
                    f"{' and '.join(told)} alone is no campaign; describe it by --cost and --value, or by --campaign"
                )
            return None
        return self.required(horizon, user)

    def required(self, horizon: str, user: str) -> Described:
        """Return what was described, which must be a campaign."""
        from bayesdecay.doors.campaign_file import Described, read_campaign

        risk = bayesdecay.Risk.from_text(self.risk or "neutral")
        if self.campaign is not None:
            twice = [f"--{name}" for name in ("cost", "value", "effect", "budget") if getattr(self, name) is not None]
            if twice:
                raise ValueError(
                    f"--campaign {self.campaign} describes the whole campaign; leave out {' and '.join(twice)}, or "
                    "the file"
                )
            return replace(read_campaign(self.campaign, horizon=horizon, user=user), risk=risk)
        if self.cost is None or self.value is None:
            raise ValueError(
                "a campaign needs both --cost (of a contact) and --value (of a reactivation), or a file: --campaign"
            )
        campaign = bayesdecay.Campaign(cost=self.cost, value=self.value, budget=self.budget, horizon=horizon)
        if self.effect is not None:
            campaign = replace(campaign, effect=bayesdecay.Effect.from_text(self.effect))
        return Described(campaign=campaign, risk=risk)


@Parameter(name="*", group=Group("Saved fits", sort_key=3))
@dataclass(frozen=True, slots=True, kw_only=True)
class FitFiles:
    """Fits of an earlier run.

    Parameters
    ----------
    decay
        Fit written by 'bayesdecay fit', or decay.nc of 'bayesdecay run'.
    reactivation
        File reactivation.nc of 'bayesdecay run', which holds a fit for each horizon.
    """

    decay: Path
    reactivation: Path


@Parameter(name="*", group=Group("Sampling", sort_key=5))
@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How the posterior is drawn.

    Parameters
    ----------
    draws
        Posterior draws of each chain; more of them narrow the error of the sampler, not the intervals. 500, or
        1,000 where groups are pooled, if not given.
    tune
        Warm-up draws of each chain, thrown away; 100, or 300 where groups are pooled, if not given. A run that did not
        converge is tried once more with twice as many.
    chains
        Independent chains, at least 2: by their agreement it is judged whether the sampler converged. 4 if not given.
    """

    draws: int | None = None
    tune: int | None = None
    chains: int | None = None

    def sampling(self) -> Sampling | None:
        """Return them as the models take them; None where each model's own are to be used."""
        told = {name: value for name, value in asdict(self).items() if value is not None}
        return bayesdecay.Sampling(**told) if told else None


@Parameter(name="*", group=Group("Results", sort_key=6))
@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOptions:
    """What holds for every result.

    Parameters
    ----------
    random_seed
        A whole number, such as 1: the same seed gives the same results on the same machine. Another one each time if
        not given.
    allow_unconverged
        Go on although the sampler did not converge. Files, report and messages then say NOT CONVERGED: good for
        looking at what is wrong, not for acting upon.
    """

    random_seed: int | None = None
    allow_unconverged: Annotated[bool, Parameter(negative="")] = False
