"""Options that several commands share: how to read a log, what a campaign is, how to sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cyclopts import Parameter

import bayesdecay

if TYPE_CHECKING:
    from bayesdecay.data.events import Events
    from bayesdecay.decide.campaign import Campaign
    from bayesdecay.model.sampling import Sampling

__all__ = ["CampaignOptions", "LogOptions", "SamplingOptions"]


@Parameter(name="*", group="Log")
@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """How to read a log, and what counts in it.

    Parameters
    ----------
    user
        Column with the user's id.
    time
        Column with the time of the event.
    kind
        Column with the kind of event.
    kinds
        Count these kinds only, as in purchase,cart.
    amount
        Column with the amount of the event.
    timezone
        Time zone of the log, as in Europe/Berlin.
    time_unit
        Unit of times that are numbers since 1970: s, ms, us, ns or d.
    activity
        What counts once: day, session or event.
    session_gap
        Silence that ends a session.
    group
        Column whose groups are partially pooled.
    at
        Cutoff, a day seen to its end; the end of the log if not given.
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
        )

    @property
    def counting(self) -> dict[str, Any]:
        """Arguments of ``summarize`` and ``snapshots`` that say what counts."""
        kinds = tuple(self.kinds.split(",")) if self.kinds else None
        return {"activity": self.activity, "session_gap": self.session_gap, "kinds": kinds, "group": self.group}


@Parameter(name="*", group="Campaign")
@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignOptions:
    """What a campaign costs and brings.

    Parameters
    ----------
    cost
        Cost of one contact [money].
    value
        Margin of one reactivation [money].
    effect
        Assumed effect of a contact on the log-odds of returning, as in 'normal(0.3, 0.2)', which it is if not given.
    budget
        Most that may be spent [money]; no limit if not given.
    """

    cost: float | None = None
    value: float | None = None
    effect: str | None = None
    budget: float | None = None

    def campaign(self, horizon: str) -> Campaign | None:
        """Return the campaign, None where nothing is said of one."""
        if self.cost is None and self.value is None:
            if self.effect is not None or self.budget is not None:
                raise ValueError("--effect and --budget describe a campaign only together with --cost and --value")
            return None
        if self.cost is None or self.value is None:
            raise ValueError("a campaign needs both --cost (of a contact) and --value (of a reactivation)")
        effect = {} if self.effect is None else {"effect": bayesdecay.Effect.from_text(self.effect)}
        return bayesdecay.Campaign(cost=self.cost, value=self.value, budget=self.budget, horizon=horizon, **effect)


@Parameter(name="*", group="Sampling")
@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How the posterior is drawn.

    Parameters
    ----------
    draws
        Posterior draws of each chain.
    tune
        Warm-up draws of each chain.
    chains
        Independent chains.
    random_seed
        The same seed gives the same results on the same machine.
    """

    draws: int = 500
    tune: int = 300
    chains: int = 4
    random_seed: int | None = None

    def sampling(self) -> Sampling:
        """Return them as the models take them."""
        return bayesdecay.Sampling(draws=self.draws, tune=self.tune, chains=self.chains)
