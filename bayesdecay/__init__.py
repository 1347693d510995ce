"""How each user's interest decays, who will return, and whom to contact.

The one way through it::

    log = read_events("events.parquet")                      # who, when, what
    history = summarize(log, at="1997-09-30")                # a row a user
    decay = DecayModel().fit(history)                        # interest and how it fades
    lapsed = snapshots(log, cutoffs=["1997-06-30"], horizon="90d")
    returning = ReactivationModel().fit(lapsed, decay)       # who comes back
    plan = choose(p, Campaign(...))                          # whom to contact

Heavy parts (PyMC, DuckDB, pandas) load when a name is first used, so that importing the package is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesdecay.data.balance import Balance as Balance
    from bayesdecay.data.calendar import Calendar as Calendar
    from bayesdecay.data.calendar_file import read_calendar as read_calendar
    from bayesdecay.data.combining import combine as combine
    from bayesdecay.data.datasets import load_cdnow as load_cdnow
    from bayesdecay.data.events import Events as Events
    from bayesdecay.data.events import read_events as read_events
    from bayesdecay.data.experiment import Experiment as Experiment
    from bayesdecay.data.experiment_table import read_experiment as read_experiment
    from bayesdecay.data.features import features_table as features_table
    from bayesdecay.data.folds import folds as folds
    from bayesdecay.data.history import History as History
    from bayesdecay.data.history import HistoryFile as HistoryFile
    from bayesdecay.data.history import summarize as summarize
    from bayesdecay.data.history import summarize_to as summarize_to
    from bayesdecay.data.history_times import summarize_times as summarize_times
    from bayesdecay.data.kinds import KindCounts as KindCounts
    from bayesdecay.data.kinds import count_kinds as count_kinds
    from bayesdecay.data.resources import Resources as Resources
    from bayesdecay.data.scale.spark_events import SparkEvents as SparkEvents
    from bayesdecay.data.scale.spark_history import SparkHistory as SparkHistory
    from bayesdecay.data.scale.unloaded import read_history as read_history
    from bayesdecay.data.scale.warehouse import warehouse_sql as warehouse_sql
    from bayesdecay.data.simulate import Simulation as Simulation
    from bayesdecay.data.simulate import simulate as simulate
    from bayesdecay.data.snapshots import Snapshots as Snapshots
    from bayesdecay.data.snapshots import snapshots as snapshots
    from bayesdecay.data.sufficiency import shortfalls as shortfalls
    from bayesdecay.data.truth import Coupon as Coupon
    from bayesdecay.data.truth import Population as Population
    from bayesdecay.decide.control import control_group_size as control_group_size
    from bayesdecay.decide.effects import Effect as Effect
    from bayesdecay.decide.exploration import explore as explore
    from bayesdecay.decide.information import value_of_perfect_information as value_of_perfect_information
    from bayesdecay.decide.information import value_of_test as value_of_test
    from bayesdecay.decide.measured import measured_prospects as measured_prospects
    from bayesdecay.decide.measured import measured_value as measured_value
    from bayesdecay.decide.offers import Offer as Offer
    from bayesdecay.decide.policy_value import PolicyValue as PolicyValue
    from bayesdecay.decide.policy_value import policy_value as policy_value
    from bayesdecay.decide.prospects import Prospects as Prospects
    from bayesdecay.decide.risk import Risk as Risk
    from bayesdecay.decide.targeting import Campaign as Campaign
    from bayesdecay.decide.targeting import Plan as Plan
    from bayesdecay.decide.targeting import choose as choose
    from bayesdecay.decide.uplift_calibration import UpliftCalibration as UpliftCalibration
    from bayesdecay.decide.uplift_calibration import uplift_calibration as uplift_calibration
    from bayesdecay.decide.uplift_curves import UpliftCurve as UpliftCurve
    from bayesdecay.decide.uplift_curves import uplift_curve as uplift_curve
    from bayesdecay.doors.job import Job as Job
    from bayesdecay.doors.job import JobResult as JobResult
    from bayesdecay.doors.pipeline import run_job as run_job
    from bayesdecay.doors.results import write_job as write_job
    from bayesdecay.errors import DataError as DataError
    from bayesdecay.errors import LeakageError as LeakageError
    from bayesdecay.errors import MissingExtraError as MissingExtraError
    from bayesdecay.errors import NotConvergedError as NotConvergedError
    from bayesdecay.model.decay import DecayModel as DecayModel
    from bayesdecay.model.decay_fit import DecayFit as DecayFit
    from bayesdecay.model.effect_fit import EffectFit as EffectFit
    from bayesdecay.model.effect_model import EffectModel as EffectModel
    from bayesdecay.model.fits import load as load
    from bayesdecay.model.fits import save_fits as save_fits
    from bayesdecay.model.kind_fit import KindFit as KindFit
    from bayesdecay.model.kind_model import KindModel as KindModel
    from bayesdecay.model.prior import Prior as Prior
    from bayesdecay.model.prior_predictive import prior_predictive as prior_predictive
    from bayesdecay.model.reactivation import ReactivationModel as ReactivationModel
    from bayesdecay.model.reference import ReferenceFit as ReferenceFit
    from bayesdecay.model.reference import ReferenceModel as ReferenceModel
    from bayesdecay.model.returning import ReactivationFit as ReactivationFit
    from bayesdecay.model.run_in import run_in_table as run_in_table
    from bayesdecay.model.sampling import Sampling as Sampling
    from bayesdecay.model.scores import ScoreOptions as ScoreOptions
    from bayesdecay.model.scores import Scores as Scores
    from bayesdecay.model.uncertainty import DrawOptions as DrawOptions
    from bayesdecay.model.uncertainty import interval_widening as interval_widening
    from bayesdecay.model.uncertainty import variance_shares as variance_shares
    from bayesdecay.show.candidates import Candidate as Candidate
    from bayesdecay.show.candidates import default_candidates as default_candidates
    from bayesdecay.show.check_page import write_check_page as write_check_page
    from bayesdecay.show.checks import ForecastCheck as ForecastCheck
    from bayesdecay.show.checks import check_forecast as check_forecast
    from bayesdecay.show.comparison import Comparison as Comparison
    from bayesdecay.show.comparison import compare as compare
    from bayesdecay.show.content import ReportContent as ReportContent
    from bayesdecay.show.dependence import average_marginal_effects as average_marginal_effects
    from bayesdecay.show.dependence import partial_dependence as partial_dependence
    from bayesdecay.show.drift import Drift as Drift
    from bayesdecay.show.drift import drift as drift
    from bayesdecay.show.explain import Explanation as Explanation
    from bayesdecay.show.explain import explain as explain
    from bayesdecay.show.explanation_plots import plot_explanation as plot_explanation
    from bayesdecay.show.explanation_plots import plot_partial_dependence as plot_partial_dependence
    from bayesdecay.show.frontier import plot_frontier as plot_frontier
    from bayesdecay.show.later import later_activity as later_activity
    from bayesdecay.show.law_check import LawCheck as LawCheck
    from bayesdecay.show.law_check import check_laws as check_laws
    from bayesdecay.show.log_check import LogCheck as LogCheck
    from bayesdecay.show.log_check import check_log as check_log
    from bayesdecay.show.origin_work import CheckOptions as CheckOptions
    from bayesdecay.show.past_check import PastCheck as PastCheck
    from bayesdecay.show.past_check import check_past as check_past
    from bayesdecay.show.plots import plot_prior_predictive as plot_prior_predictive
    from bayesdecay.show.question import CompareOptions as CompareOptions
    from bayesdecay.show.report import write_report as write_report
    from bayesdecay.show.uplift_plots import plot_uplift_calibration as plot_uplift_calibration
    from bayesdecay.show.uplift_plots import plot_uplift_curve as plot_uplift_curve

__version__ = "0.1.0"

# Where each public name lives, in the order of the way through.
_ROOM = {
    "read_events": "data.events",
    "Events": "data.events",
    "Resources": "data.resources",
    "Calendar": "data.calendar",
    "read_calendar": "data.calendar_file",
    "summarize": "data.history",
    "summarize_to": "data.history",
    "summarize_times": "data.history_times",
    "combine": "data.combining",
    "count_kinds": "data.kinds",
    "KindCounts": "data.kinds",
    "warehouse_sql": "data.scale.warehouse",
    "read_history": "data.scale.unloaded",
    "History": "data.history",
    "HistoryFile": "data.history",
    "SparkEvents": "data.scale.spark_events",
    "SparkHistory": "data.scale.spark_history",
    "snapshots": "data.snapshots",
    "Snapshots": "data.snapshots",
    "features_table": "data.features",
    "folds": "data.folds",
    "load_cdnow": "data.datasets",
    "simulate": "data.simulate",
    "Simulation": "data.simulate",
    "Population": "data.truth",
    "Coupon": "data.truth",
    "DecayModel": "model.decay",
    "DecayFit": "model.decay_fit",
    "run_in_table": "model.run_in",
    "KindModel": "model.kind_model",
    "KindFit": "model.kind_fit",
    "ReferenceModel": "model.reference",
    "ReferenceFit": "model.reference",
    "ReactivationModel": "model.reactivation",
    "ReactivationFit": "model.returning",
    "Prior": "model.prior",
    "prior_predictive": "model.prior_predictive",
    "plot_prior_predictive": "show.plots",
    "Sampling": "model.sampling",
    "ScoreOptions": "model.scores",
    "Scores": "model.scores",
    "load": "model.fits",
    "save_fits": "model.fits",
    "explain": "show.explain",
    "Explanation": "show.explain",
    "plot_explanation": "show.explanation_plots",
    "average_marginal_effects": "show.dependence",
    "partial_dependence": "show.dependence",
    "plot_partial_dependence": "show.explanation_plots",
    "EffectModel": "model.effect_model",
    "EffectFit": "model.effect_fit",
    "variance_shares": "model.uncertainty",
    "interval_widening": "model.uncertainty",
    "DrawOptions": "model.uncertainty",
    "choose": "decide.targeting",
    "Campaign": "decide.targeting",
    "Plan": "decide.targeting",
    "plot_frontier": "show.frontier",
    "Effect": "decide.effects",
    "measured_prospects": "decide.measured",
    "measured_value": "decide.measured",
    "value_of_perfect_information": "decide.information",
    "value_of_test": "decide.information",
    "control_group_size": "decide.control",
    "explore": "decide.exploration",
    "Offer": "decide.offers",
    "Risk": "decide.risk",
    "Prospects": "decide.prospects",
    "read_experiment": "data.experiment_table",
    "Experiment": "data.experiment",
    "Balance": "data.balance",
    "policy_value": "decide.policy_value",
    "PolicyValue": "decide.policy_value",
    "uplift_curve": "decide.uplift_curves",
    "UpliftCurve": "decide.uplift_curves",
    "plot_uplift_curve": "show.uplift_plots",
    "uplift_calibration": "decide.uplift_calibration",
    "UpliftCalibration": "decide.uplift_calibration",
    "plot_uplift_calibration": "show.uplift_plots",
    "later_activity": "show.later",
    "check_forecast": "show.checks",
    "ForecastCheck": "show.checks",
    "check_laws": "show.law_check",
    "LawCheck": "show.law_check",
    "check_log": "show.log_check",
    "CheckOptions": "show.origin_work",
    "LogCheck": "show.log_check",
    "write_check_page": "show.check_page",
    "check_past": "show.past_check",
    "PastCheck": "show.past_check",
    "shortfalls": "data.sufficiency",
    "drift": "show.drift",
    "Drift": "show.drift",
    "compare": "show.comparison",
    "Comparison": "show.comparison",
    "CompareOptions": "show.question",
    "Candidate": "show.candidates",
    "default_candidates": "show.candidates",
    "ReportContent": "show.content",
    "write_report": "show.report",
    "Job": "doors.job",
    "JobResult": "doors.job",
    "run_job": "doors.pipeline",
    "write_job": "doors.results",
    "DataError": "errors",
    "LeakageError": "errors",
    "MissingExtraError": "errors",
    "NotConvergedError": "errors",
}

__all__ = ["__version__", *_ROOM]  # noqa: PLE0604 - the table's keys are names


def __getattr__(name: str) -> Any:
    """Load the module of a public name when the name is first used."""
    if name not in _ROOM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_ROOM[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *_ROOM})
