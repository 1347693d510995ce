"""A plan: whom to contact, what the whole campaign may bring, and what that rests on.

In: the table of candidates and the draws of the campaign's outcomes made by ``choose``. Out: tables, sentences and
files for people; labelled draws for machines.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import xarray as xr

from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.risk import cvar, interval, p_loss
from bayesdecay.files import replacing
from bayesdecay.names import CI_PROB, P_REACTIVATION, USER, bounds

__all__ = ["Plan"]

# Columns of the table of candidates.
PROFIT = "profit"  # expected profit of the contact, its cost taken off [money]
P_PROFIT = "p_profit"  # P(expected profit of the contact > 0)
UPLIFT = "assumed_uplift"  # change of P(reactivation) by the contact, as assumed
COST = "cost"  # [money]
CHOSEN = "chosen"
RANK = "rank"  # 1 is the highest expected profit
REASON = "reason"
ASSUMPTION = "assumption"  # only in files, which travel without the plan

# Outcomes of audiences, and the columns of their table.
AUDIENCE = "audience"
EXTRA_RETURNS = "extra_returns"  # users who return because of the contact [count]
CONTACTS = "contacts"  # [count]
SPEND = "spend"  # [money]
P_LOSS = "p_loss"
CVAR = "cvar"  # [money]
BOUND = "bound"  # [money]
GAP = "gap"  # [money]

# Audiences that are compared.
BEST = "chosen"
LIKELIEST = "most likely to return"
NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """The audience that is best under the budget, beside all other candidates; made by :func:`choose`.

    Attributes
    ----------
    campaign : Campaign
        The costs, values, budget and assumed effect that it rests on.
    table : DataFrame
        A row a candidate, in the order given: user, p_reactivation, profit, p_profit, assumed_uplift, cost, chosen,
        rank, reason; p_reactivation and profit with _lower and _upper. profit is the expected profit of
        contacting that one user; its interval is about what is not known of the user and of the effect.
    outcomes : Dataset
        Draws (audience, sample) of profit [money] and extra_returns [count] of the whole campaign for the chosen
        audience and for simpler ones, with the chance of the individual outcomes.
    bound : float
        Expected profit that no affordable audience exceeds [money].
    exact : bool
        Whether the chosen audience is proven to have the highest expected profit under the budget, to a millionth.
    ci_prob, risk_level : float
        Probability of every interval; level of the CVaR.
    """

    campaign: Campaign
    table: pd.DataFrame
    outcomes: xr.Dataset
    bound: float
    exact: bool
    ci_prob: float
    risk_level: float

    @property
    def audience(self) -> pd.DataFrame:
        """The chosen users only, the highest expected profit first."""
        return self.table[self.table[CHOSEN]].sort_values(RANK).reset_index(drop=True)

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
        """Expected profit that a better audience could add at most [money]; see ``exact``."""
        return max(self.bound - float(self.table.loc[self.table[CHOSEN], PROFIT].sum()), 0.0)

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
        """Compare the chosen audience with contacting nobody and with contacting the most likely to return.

        Those most likely to return are contacted from the top for as long as the budget lasts. It is often the wrong
        audience: they return anyway.
        """
        rows = {name: self._row(name) for name in self.outcomes[AUDIENCE].to_numpy().tolist()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis(AUDIENCE)

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
        assumed = self.campaign.effect.statement(self.ci_prob)
        if not self.table[CHOSEN].any():
            return f"Contact nobody: {self._why_nobody()}. In this plan, {assumed}."
        row = self.baselines().loc[BEST]
        within = f" within {self.campaign.horizon}" if self.campaign.horizon else ""
        best = (
            ""
            if self.exact or self.gap < 0.005
            else f" No affordable audience can be expected to bring {self.gap:,.2f} more."
        )
        return (
            f"Contact {row[CONTACTS]:,.0f} of {len(self.table):,} users for {row[SPEND]:,.2f}: expected profit "
            f"{row[PROFIT]:,.2f} [{row[bounds(PROFIT)[0]]:,.2f}, {row[bounds(PROFIT)[1]]:,.2f}] ({self.ci_prob:.0%} "
            f"interval), {row[EXTRA_RETURNS]:,.1f} more returns{within}. A loss has probability {row[P_LOSS]:.2f}; in "
            f"the worst {100 * (1 - self.risk_level):.3g} % of cases the mean profit is {row[CVAR]:,.2f}.{best} "
            f"In this plan, {assumed}."
        )

    def _why_nobody(self) -> str:
        if self.table.empty:
            return "there are no candidates"
        pays = self.table[self.table[PROFIT] > 0]
        if pays.empty:
            return f"no contact is expected to pay (the best has an expected profit of {self.table[PROFIT].max():,.2f})"
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
        effect = self.campaign.effect.odds_ratio(self.ci_prob)
        rows = self.audience.assign(**{ASSUMPTION: f"contact is assumed to multiply the odds of returning by {effect}"})
        with replacing(path) as part:
            rows.drop(columns=CHOSEN).to_csv(part, index=False)

    def __str__(self) -> str:
        """Say the plan in plain words."""
        return self.statement

    def _repr_html_(self) -> str:
        columns = [USER, RANK, P_REACTIVATION, PROFIT, *bounds(PROFIT), P_PROFIT, COST]
        first = self.audience[columns].head(10)
        return (
            f"<p>{html.escape(self.statement)}</p>"
            f"{self.baselines().to_html(float_format='{:,.2f}'.format)}"
            f"<p>The first {len(first)} of the audience</p>"
            f"{first.to_html(index=False, float_format='{:,.3f}'.format)}"
        )
