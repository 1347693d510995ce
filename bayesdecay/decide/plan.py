"""A plan: whom to contact, what the whole campaign may bring, and what that rests on.

In: the table of candidates and the draws of the campaign's outcomes made by ``choose``. Out: tables, sentences and
files for people; labelled draws for machines.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.candidates import CONTROL
from bayesdecay.decide.columns import (
    ASSUMPTION,
    AUDIENCE,
    BEST,
    BOUND,
    BUDGET,
    CHOSEN,
    CONTACTS,
    COST,
    CVAR,
    EXTRA_RETURNS,
    GAP,
    OFFER,
    P_LOSS,
    P_PROFIT,
    PROFIT,
    RANK,
    REASON,
    RISK_WEIGHT,
    SCORE,
    SPEND,
)  # fmt: skip
from bayesdecay.decide.outcomes import drawn_outcomes
from bayesdecay.decide.risk import Risk, cvar, interval, p_loss
from bayesdecay.decide.selection import frontier_points
from bayesdecay.decide.stakes import Stakes
from bayesdecay.files import replacing
from bayesdecay.names import CI_PROB, P_REACTIVATION, USER, bounds

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Plan:
    """The audience that is best under the budget and the risk appetite, beside all others; made by :func:`choose`.

    Attributes
    ----------
    campaign : Campaign
        The offers, values, budget and assumed effects that it rests on.
    risk : Risk
        The risk appetite.
    table : DataFrame
        A row a candidate, in the order given: user, offer, p_reactivation, profit, p_profit, assumed_uplift or
        uplift, cost, chosen, rank, reason; p_reactivation and profit with _lower and _upper. profit is the expected
        profit of contacting that one user; its interval is about what is not known of the user and of the effect.
        Who gets
        no offer is shown with the one that would bring most. cost is what is paid at contact.
    outcomes : Dataset
        Draws (audience, sample) of profit [money] and extra_returns [count] of the whole campaign for the chosen
        audience and for simpler ones, with the chance of the individual outcomes.
    score : float
        What was maximised: the profit expected in the draws, less the weighted shortfall if risk has a weight [money].
    bound : float
        Score that no affordable audience exceeds [money]. Under a highest P(loss) it is that of expected profit alone.
    exact : bool
        Whether the chosen audience is proven to have the highest score, to a millionth.
    met : bool
        False where no audience that was tried keeps P(loss) as low as asked, but contacting nobody.
    ci_prob, risk_level : float
        Probability of every interval; level of the CVaR.
    stakes : Stakes
        What the plan was made from, for :meth:`frontier`; it holds on to the draws.
    seed : int
        Of the outcomes.
    """

    campaign: Campaign
    risk: Risk
    table: pd.DataFrame
    outcomes: xr.Dataset
    score: float
    bound: float
    exact: bool
    met: bool
    ci_prob: float
    risk_level: float
    stakes: Stakes = field(repr=False)
    seed: int = field(repr=False)

    @property
    def audience(self) -> pd.DataFrame:
        """The chosen users only, the highest expected profit first."""
        return self.table[self.table[CHOSEN]].sort_values(RANK).reset_index(drop=True)

    @property
    def control(self) -> pd.DataFrame:
        """The users held out at random, the highest expected profit first; their offer is what they would have got."""
        held = self.table[self.table[REASON] == CONTROL]
        return held.sort_values(RANK).reset_index(drop=True)

    @property
    def profit(self) -> xr.DataArray:
        """Draws (sample) of the campaign's total profit [money], summed draw by draw over the audience."""
        return self.outcomes[PROFIT].sel({AUDIENCE: BEST}, drop=True)

    @property
    def extra_returns(self) -> xr.DataArray:
        """Draws (sample) of the number of users who return because of the contact (negative: who stay away)."""
        return self.outcomes[EXTRA_RETURNS].sel({AUDIENCE: BEST}, drop=True)

    @property
    def gap(self) -> float:
        """Score that a better audience could add at most [money]; see ``exact``."""
        return max(self.bound - self.score, 0.0)

    def summary(self) -> pd.Series:
        """Numbers of the campaign; ``attrs["statement"]`` says what they rest on.

        Notes
        -----
        ``profit`` and ``extra_returns`` are expected values, free of the chance of individual outcomes; their
        intervals, ``p_loss`` and ``cvar`` are taken from the draws and include it.
        """
        row = self.baselines().loc[BEST].rename("campaign")
        numbers = pd.concat([row, pd.Series({BOUND: self.bound, GAP: self.gap}, name="campaign")])
        numbers.attrs = {"statement": self.statement, CI_PROB: self.ci_prob, "risk_level": self.risk_level}
        return numbers

    def baselines(self) -> pd.DataFrame:
        """Compare the chosen audience with simpler ones, which get the offer that would bring most if all got it.

        The most likely to return, from the top for as long as the budget lasts: often the wrong ones, who return
        anyway. Low interest, likely to return: the field's coupon rule, where ``choose`` was told the interest; see
        :mod:`bayesdecay.decide.policies`. Everybody who may be contacted, whatever the budget. Nobody.
        """
        rows = {name: self._row(name) for name in self.outcomes[AUDIENCE].to_numpy().tolist()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis(AUDIENCE)

    def frontier(
        self, *, weights: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0), budgets: Sequence[float | None] | None = None
    ) -> pd.DataFrame:
        """Expected profit against risk: the best plans over weights of the CVaR shortfall and over budgets.

        Parameters
        ----------
        weights : sequence of float
            Weights of the shortfall, in [0, 1].
        budgets : sequence of float or None, optional
            Budgets [money]; a quarter, half, all and twice the campaign's if not given.

        Returns
        -------
        DataFrame
            audience, risk_weight, budget, contacts, spend, profit, p_loss, cvar, score, bound, gap: a row a weight and
            budget, then a row for each simpler audience; ``attrs["risk_level"]`` is the level of cvar. score, bound
            and gap are about the doubt about parameters; p_loss and cvar include the chance of outcomes.

        Notes
        -----
        Each row costs about what ``choose`` does: with a million users some ten seconds.
        """
        own = self.campaign.budget
        asked = ([None] if own is None else [own / 4, own / 2, own, own * 2]) if budgets is None else list(budgets)
        points = frontier_points(self.stakes, weights, asked, self.risk_level)
        drawn, _ = drawn_outcomes(self.stakes, [point.pick for point in points], self.seed)
        uniform = np.full(self.stakes.samples, 1 / self.stakes.samples)
        expected = self.stakes.weighted(uniform)
        rows = []
        for place, point in enumerate(points):
            who = np.flatnonzero(point.pick >= 0)
            what = point.pick[who]
            rows.append(
                {
                    AUDIENCE: BEST, RISK_WEIGHT: point.weight, BUDGET: point.budget, CONTACTS: float(who.size),
                    SPEND: self.stakes.cost[who, what].sum(), PROFIT: expected[who, what].sum(),
                    P_LOSS: p_loss(drawn[:, place]), CVAR: cvar(drawn[:, place], self.risk_level),
                    SCORE: point.score, BOUND: point.bound, GAP: max(point.bound - point.score, 0.0),
                }
            )  # fmt: skip
        columns = list(rows[0])
        simple = self.baselines().drop(index=BEST).reset_index().reindex(columns=columns).astype({BUDGET: float})
        table = pd.concat([pd.DataFrame(rows).astype({BUDGET: float}), simple], ignore_index=True)
        table.attrs = {"risk_level": self.risk_level}
        return table

    def _row(self, name: str) -> dict[str, float]:
        audience = self.outcomes.sel({AUDIENCE: name})
        row = {CONTACTS: float(audience[CONTACTS]), SPEND: float(audience[SPEND])}
        for column in (PROFIT, EXTRA_RETURNS):
            lower, upper = bounds(column)
            row[column] = float(audience[f"expected_{column}"])
            row[lower], row[upper] = interval(audience[column], self.ci_prob)
        return row | {P_LOSS: p_loss(audience[PROFIT]), CVAR: cvar(audience[PROFIT], self.risk_level)}

    @property
    def statement(self) -> str:
        """The plan in plain words, with the assumption it rests on."""
        assumed = self.campaign.assumption(self.ci_prob)
        if not self.table[CHOSEN].any():
            return f"Contact nobody: {self._why_nobody()}. In this plan, {assumed}."
        row = self.baselines().loc[BEST]
        within = f" within {self.campaign.horizon}" if self.campaign.horizon else ""
        best = (
            ""
            if self.exact or self.gap < 0.005
            else f" No affordable audience can be expected to bring {self.gap:,.2f} more."
        )
        if not self.risk.is_neutral:
            best = f" It is chosen for {self.risk}; at most {self.gap:,.2f} of that is left open."
        gets = f", {self.offers_in_words}" if len(self.campaign.kinds) > 1 else ""
        return (
            f"Contact {row[CONTACTS]:,.0f} of {len(self.table):,} users{gets} for {row[SPEND]:,.2f}: expected profit "
            f"{row[PROFIT]:,.2f} [{row[bounds(PROFIT)[0]]:,.2f}, {row[bounds(PROFIT)[1]]:,.2f}] ({self.ci_prob:.0%} "
            f"interval), {row[EXTRA_RETURNS]:,.1f} more returns{within}. A loss has probability {row[P_LOSS]:.2f}; in "
            f"the worst {100 * (1 - self.risk_level):.3g} % of cases the mean profit is {row[CVAR]:,.2f}.{best} "
            f"In this plan, {assumed}."
        )

    @property
    def offers_in_words(self) -> str:
        """How many get which offer, such as "120 with 'e-mail' and 30 with 'coupon'"."""
        counts = self.table.loc[self.table[CHOSEN], OFFER].value_counts()
        return " and ".join(f"{counts[name]:,} with {name!r}" for name in self.campaign.kinds if name in counts)

    def _why_nobody(self) -> str:
        if self.table.empty:
            return "there are no candidates"
        if not self.met:
            return f"no audience that was tried keeps the probability of a loss at or below {self.risk.most_loss:g}"
        if self.stakes.closed.all():
            return "all candidates are excluded, held out or of no value"
        pays = self.table[self.table[PROFIT] > 0]
        if pays.empty:
            return f"no contact is expected to pay (the best has an expected profit of {self.table[PROFIT].max():,.2f})"
        if self.risk.weight > 0:
            return f"no audience is worth its risk, the aim being {self.risk}"
        if (self.stakes.capacity < 1).all():
            return "the capacity of every offer is 0"
        return (
            f"the budget of {self.campaign.budget:,.2f} is below the cheapest contact that is expected to pay "
            f"({pays[COST].min():,.2f})"
        )

    def to_csv(self, path: str | Path) -> None:
        """Write the audience, one row a user, with the assumption in every row; all of the file or nothing.

        Raises
        ------
        FileNotFoundError
            If the folder does not exist.
        """
        kinds = self.campaign.kinds
        told = {
            name: f"{'contact' if len(kinds) == 1 else name} is assumed to multiply the odds of returning by "
            f"{offer.effect.odds_ratio(self.ci_prob)}"
            for name, offer in kinds.items()
            if offer.effect is not None
        }
        rows = self.audience.assign(**{ASSUMPTION: lambda table: table[OFFER].map(told).fillna("effects are measured")})
        with replacing(path) as part:
            rows.drop(columns=CHOSEN).to_csv(part, index=False)

    def __str__(self) -> str:
        """Say the plan in plain words."""
        return self.statement

    # The generated one would print every candidate.
    __repr__ = __str__

    def _repr_html_(self) -> str:
        several = [OFFER] if len(self.campaign.kinds) > 1 else []
        columns = [USER, RANK, *several, P_REACTIVATION, PROFIT, *bounds(PROFIT), P_PROFIT, COST]
        first = self.audience[columns].head(10)
        return (
            f"<p>{html.escape(self.statement)}</p>"
            f"{self.baselines().to_html(float_format='{:,.2f}'.format)}"
            f"<p>The first {len(first)} of the audience</p>"
            f"{first.to_html(index=False, float_format='{:,.3f}'.format)}"
        )
