"""Names of the columns of a plan's tables, and of the audiences it compares."""

from __future__ import annotations

from bayesdecay.decide.prospects import OFFER as OFFER

__all__ = [
    "OFFER", "PROFIT", "P_PROFIT", "UPLIFT", "MEASURED_UPLIFT", "COST", "CHOSEN", "RANK", "REASON", "ASSUMPTION",
    "AUDIENCE", "EXTRA_RETURNS", "CONTACTS", "SPEND", "P_LOSS", "CVAR", "BOUND", "GAP", "SCORE", "RISK_WEIGHT",
    "BUDGET", "BEST", "LIKELIEST", "NOBODY", "EVERYBODY", "COUPON_RULE",
]  # fmt: skip

# Columns of the table of candidates.
PROFIT = "profit"  # expected profit of the contact, its cost taken off [money]
P_PROFIT = "p_profit"  # P(expected profit of the contact > 0)
UPLIFT = "assumed_uplift"  # change of P(reactivation) by the contact, as assumed
MEASURED_UPLIFT = "uplift"  # the same, as measured
COST = "cost"  # at contact [money]
CHOSEN = "chosen"
RANK = "rank"  # 1 is the highest expected profit
REASON = "reason"
ASSUMPTION = "assumption"  # only in files, which travel without the plan

# Outcomes of audiences, and the columns of their table.
AUDIENCE = "audience"
EXTRA_RETURNS = "extra_returns"  # users who return because of the contact [count]
CONTACTS = "contacts"  # [count]
SPEND = "spend"  # at contact [money]
P_LOSS = "p_loss"
CVAR = "cvar"  # [money]
BOUND = "bound"  # [money]
GAP = "gap"  # [money]
SCORE = "score"  # what was maximised [money]

# The frontier.
RISK_WEIGHT = "risk_weight"
BUDGET = "budget"  # [money]

# Audiences that are compared.
BEST = "chosen"
LIKELIEST = "most likely to return"
NOBODY = "nobody"
EVERYBODY = "everybody"
COUPON_RULE = "low interest, likely to return"
