"""From draws of probabilities to the set of users that is worth a contact, and whether it was."""

from __future__ import annotations

from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.effects import DEFAULT_EFFECT, Effect, contacted
from bayesdecay.decide.offers import Offer
from bayesdecay.decide.plan import Plan
from bayesdecay.decide.policies import coupon_rule
from bayesdecay.decide.policy_value import PolicyValue, policy_value
from bayesdecay.decide.prospects import Prospects
from bayesdecay.decide.risk import Risk, cvar, interval, p_loss
from bayesdecay.decide.targeting import choose
from bayesdecay.decide.uplift_calibration import UpliftCalibration, uplift_calibration
from bayesdecay.decide.uplift_curves import UpliftCurve, uplift_curve

__all__ = [
    "DEFAULT_EFFECT",
    "Campaign",
    "Effect",
    "Offer",
    "Plan",
    "PolicyValue",
    "Prospects",
    "Risk",
    "UpliftCalibration",
    "UpliftCurve",
    "choose",
    "contacted",
    "coupon_rule",
    "cvar",
    "interval",
    "p_loss",
    "policy_value",
    "uplift_calibration",
    "uplift_curve",
]
