"""From draws of probabilities to the set of users that is worth a contact."""

from __future__ import annotations

from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.effects import DEFAULT_EFFECT, Effect, contacted
from bayesdecay.decide.plan import Plan
from bayesdecay.decide.risk import cvar, interval, p_loss
from bayesdecay.decide.targeting import choose

__all__ = ["DEFAULT_EFFECT", "Campaign", "Effect", "Plan", "choose", "contacted", "cvar", "interval", "p_loss"]
