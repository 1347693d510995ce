"""From draws of probabilities to the set of users that is worth a contact."""

from __future__ import annotations

from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.effects import DEFAULT_EFFECT, Effect, contacted
from bayesdecay.decide.offers import Offer
from bayesdecay.decide.plan import Plan
from bayesdecay.decide.policies import coupon_rule
from bayesdecay.decide.prospects import Prospects
from bayesdecay.decide.risk import Risk, cvar, interval, p_loss
from bayesdecay.decide.targeting import choose

__all__ = [
    "DEFAULT_EFFECT", "Campaign", "Effect", "Offer", "Plan", "Prospects", "Risk", "choose", "contacted", "coupon_rule",
    "cvar", "interval", "p_loss",
]  # fmt: skip
