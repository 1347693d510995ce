"""The report's section about the decision: whom to contact, what that may bring, and what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bayesdecay.decide.columns import CONTACTS, COST, CVAR, EXTRA_RETURNS, OFFER, P_LOSS, P_PROFIT, PROFIT, SPEND
from bayesdecay.decide.plan import Plan
from bayesdecay.names import P_REACTIVATION, USER, bounds
from bayesdecay.show import plots
from bayesdecay.show.frontier import plot_frontier
from bayesdecay.show.outlook import profit_by_contacts, profit_histogram
from bayesdecay.show.views import Box, FigureView, Part, Section, TableView, Text, drawn, tabulated
from bayesdecay.show.words import count, interval_of, level, money, moneyed, percent, percent_of, window, with_interval
from bayesdecay.units import days

__all__ = ["assumption", "contact_section", "recommendation"]

_TOP = 10
# The frontier costs a choice each point. Of one offer and so many users times samples nine points take some three
# seconds, as do three points of several offers, which are a longer search: of these, and of more users, the plan's own
# budget only is drawn.
_MANY = 5_000_000
_WEIGHTS = (0.0, 0.5, 1.0)


def contact_section(plan: Plan | None) -> Section:
    """Whom to contact; one sentence where nothing was planned."""
    if plan is None:
        text = "No campaign was planned; give the cost of a contact and the value of a return to get an audience."
        return Section(name="contact", title="Whom to contact", parts=(Text(text=text),))
    parts: tuple[Part, ...] = (Text(text=recommendation(plan)), assumption(plan), _audiences(plan))
    if (plan.table[PROFIT] > 0).any():  # else no plan but contacting nobody is to be had
        parts = (*parts, _frontier_figure(plan))
    if len(plan.audience):
        parts = (*parts, _profit_figure(plan), _contacts_figure(plan), _audience(plan))
    return Section(name="contact", title="Whom to contact", parts=parts)


def recommendation(plan: Plan) -> str:
    """The plan in plain words, but for the assumption, which stands in a box of its own."""
    if not len(plan.audience):
        return plan.statement.removesuffix(f" In this plan, {plan.campaign.assumption(plan.ci_prob)}.")
    row = plan.summary()
    within = f" within {window(days(plan.campaign.horizon))}" if plan.campaign.horizon else ""
    gained = with_interval(*(row[name] for name in (EXTRA_RETURNS, *bounds(EXTRA_RETURNS))))
    profit = moneyed(row[PROFIT], *(row[name] for name in bounds(PROFIT)))
    gets = f", {plan.offers_in_words}," if len(plan.campaign.kinds) > 1 else ""
    told = (
        f"Contact {count(row[CONTACTS])} of {count(len(plan.table))} lapsed users{gets} for {money(row[SPEND])}. That "
        f"is expected to bring {gained} more returns{within} and, its cost taken off, a profit of {profit}. The "
        f"probability of a loss is {percent(row[P_LOSS])}; in the worst {_worst(plan)} of cases the profit is "
        f"{money(row[CVAR])} on average."
    )
    if not plan.risk.is_neutral:
        return f"{told} The plan is chosen for {plan.risk}; at most {money(plan.gap)} of that is left open."
    if plan.exact or plan.gap < 0.005:
        return told
    return f"{told} No affordable audience can be expected to bring {money(plan.gap)} more."


def assumption(plan: Plan) -> Box:
    """What the plan rests on, where nobody can overlook it."""
    told = plan.campaign.assumption(plan.ci_prob)
    kinds = plan.campaign.kinds
    reasons = [
        f"Why this is assumed{f' of {name}' if len(kinds) > 1 else ''}: {offer.effect.reason}."
        for name, offer in kinds.items()
        if offer.effect is not None and offer.effect.reason
    ]
    return Box(tone="assumption", title="Assumption", items=(f"{told[0].upper()}{told[1:]}.", *reasons))


def _worst(plan: Plan) -> str:
    """Share of the cases that the CVaR is about."""
    return f"{100 * (1 - plan.risk_level):.3g}\N{NO-BREAK SPACE}%"


def _audiences(plan: Plan) -> TableView:
    worst = _worst(plan)
    return tabulated(
        plan.baselines().reset_index(),
        f"The chosen audience beside simpler ones: expected values [{level(plan.ci_prob)} interval]; money in the "
        "campaign's own unit",
        {
            "Audience": "audience",
            "Contacts": lambda row: count(row[CONTACTS]),
            "Spend": lambda row: money(row[SPEND]),
            "Profit": _amount(PROFIT),
            "Returns gained": interval_of(EXTRA_RETURNS),
            "P(loss)": lambda row: percent(row[P_LOSS]),
            f"Mean profit in the worst {worst} (CVaR)": lambda row: money(row[CVAR]),
        },
    )


def _amount(column: str) -> Callable[[Mapping[str, Any]], str]:
    """Write an amount of money with its interval."""
    return lambda row: moneyed(row[column], *(row[name] for name in bounds(column)))


def _profit_figure(plan: Plan) -> FigureView:
    row = plan.summary()
    worst = _worst(plan)
    marks = {"expected": float(row[PROFIT]), f"mean of the worst {worst} (CVaR)": float(row[CVAR])}
    histogram = profit_histogram(plan)
    return drawn(
        lambda ax: plots.plot_profit(histogram, marks, ax=ax),
        name="profit",
        half=True,
        caption=f"Profit of the whole campaign. P(loss) = {percent(row[P_LOSS])}: the hatched part.",
        alt=f"Histogram of the campaign's profit: expected {moneyed(row[PROFIT], *(row[b] for b in bounds(PROFIT)))}, "
        f"probability of a loss {percent(row[P_LOSS])}, mean of the worst {worst} {money(row[CVAR])}.",
    )


def _contacts_figure(plan: Plan) -> FigureView:
    contacts, chosen = profit_by_contacts(plan), len(plan.audience)
    best = contacts.loc[contacts[PROFIT].idxmax()]
    return drawn(
        lambda ax: plots.plot_contacts(contacts, chosen=chosen, ax=ax),
        name="contacts",
        half=True,
        caption="Expected profit by the number of contacts, the most profitable first, whatever the budget.",
        alt=f"Curve of expected profit by contacts: it peaks at {money(best[PROFIT])} with about "
        f"{count(best['contacts'])} contacts; {count(chosen)} are chosen.",
    )


def _frontier_figure(plan: Plan) -> FigureView:
    own = plan.campaign.budget
    quick = len(plan.campaign.kinds) == 1 and plan.stakes.users * plan.stakes.samples <= _MANY
    frontier = plan.frontier(weights=_WEIGHTS, budgets=[own / 2, own, 2 * own] if own is not None and quick else [own])
    by_loss = plan.risk.most_loss is not None
    risk, safer = (P_LOSS, "left") if by_loss else (CVAR, "right")
    row = plan.summary()
    named = f"P(loss) {percent(row[P_LOSS])}" if by_loss else f"{money(row[CVAR])} in the worst {_worst(plan)} of cases"
    return drawn(
        lambda ax: plot_frontier(frontier, chosen=row, risk=risk, ax=ax),
        name="frontier",
        size=(6.4, 4.0),
        caption="What more profit costs in risk: each dot is the best plan for a budget and a weight (0, 0.5 and 1) of "
        f"the shortfall in the worst {_worst(plan)} of cases; up is more profit, further to the {safer} is less risk.",
        alt=f"Expected profit against risk of the best plans and of simpler audiences; the chosen plan has an expected "
        f"profit of {money(row[PROFIT])}, and {named}.",
    )


def _audience(plan: Plan) -> TableView:
    first = plan.audience.head(_TOP)
    return tabulated(
        first,
        f"The first {len(first)} of the {count(len(plan.audience))} users to contact",
        {
            "User": USER,
            **({"Offer": OFFER} if len(plan.campaign.kinds) > 1 else {}),
            "P(return) if left alone": percent_of(P_REACTIVATION),
            "Expected profit of the contact": _amount(PROFIT),
            "P(it pays)": lambda row: percent(row[P_PROFIT]),
            "Cost": lambda row: money(row[COST]),
        },
    )
