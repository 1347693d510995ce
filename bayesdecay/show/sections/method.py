"""The report's last sections: how the numbers came about, with what settings, and what the words mean."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from bayesdecay.model.prior import Prior, priors_table
from bayesdecay.model.shocks import SHOCKS
from bayesdecay.show.content import ReportContent
from bayesdecay.show.foreseen import calendar_of, season_told
from bayesdecay.show.views import Listing, Section, TableView, Text, pairs, tabulated
from bayesdecay.show.words import count, date, interval, number, with_interval

__all__ = ["glossary_section", "method_section"]

_PACKAGES = ("bayesdecay", "pymc", "arviz", "nutpie", "numpy", "duckdb")
_SYMBOLS = {
    "mu_log_rate": "μ_r",
    "sigma_log_rate": "σ_r",
    "mu_log_interest": "μ_I",
    "kappa": "κ",
    "alpha": "α",
    "rho": "ρ",
    "share_regular": "π",
    "shift_regular": "ν",
    "sigma_walk": "σ_walk",
    "sigma_week": "σ_week",
    "sigma_season": "σ_season",
    "share_recurring": "ρ_season",
    "sigma_holiday": "σ_holiday",
}
_MODEL = (
    "At time t after the first activity a user's interest is I(t) = {law}, where V(t) = t − ρ · L(t) is the time that"
    " counts against it and L(t) is the time of the last activity. With ρ = 0 interest fades from the first activity "
    "on whatever the user does; with ρ = 1 every visit restores all of it. The decay rate r differs from user to user"
    " (log r is normal with mean μ_r and standard deviation σ_r), and so does the first interest I₀ (gamma with shape"
    " α; the logarithm of its mean moves by κ with each standard deviation of log r). Activities happen at random "
    "with this interest as their intensity."
)
_EXPONENTIAL = "I₀ · exp(−r · V(t))"
_POWER = "I₀ · (1 + V(t) / τ)^(−r · τ) with τ = {shoulder} days, which falls ever more slowly"
_REGULARS = (
    "A share π of the users are regulars: their interest does not fade, and its mean is e^ν times that of a typical "
    "user's first."
)
_SHOCKS = (
    "A factor that all users share is on top of that intensity. It stands for what no user's own past foretells: "
    "seasons, offers, changes of the shop. Its logarithm walks by σ_walk from week to week, and a single week lies "
    "σ_week above or below. Both were learned from the log's past weeks, activities seen beside those expected: σ_walk "
    "is {walk} and σ_week {week}. Its unknown course is in the forecasts, and most of the width of the intervals of "
    "totals; interest and the probability of never returning are told without it."
)
_TOLD = (
    "Intervals are equal-tailed and hold the truth with the stated probability if the model holds. Intervals of "
    "interest, half-life and probabilities are about the user's own value; intervals of numbers of activities and of "
    "profits are about what will happen, chance included."
)
_GLOSSARY = (
    ("Activity", "What is counted: an active day, a session or an event, as set for this run."),
    ("Cutoff", "The last instant that was seen. Every forecast is about what comes after it."),
    ("Horizon", "The time after the cutoff that a statement is about."),
    ("Interest", "The number of activities per unit of time that a user is heading for at the cutoff."),
    ("Half-life", "The time in which interest falls to a half if nothing happens."),
    ("Restoration", "The part of the lost interest that a visit brings back."),
    ("Lapsed", "Without any activity for at least a set time before the cutoff."),
    ("P(return)", "Probability of at least one activity within the horizon, from the decay model, for every user."),
    (
        "P(reactivation)",
        "The same for lapsed users who are left alone, from a model that has learned from earlier ones.",
    ),
    ("Interval [a, b]", "Holds the true value with the stated probability, given the model and the data."),
    ("CVaR", "The mean profit in the worst cases, here the worst 5 % unless told otherwise."),
    ("CRPS", "Distance between a forecast of a number and what happened, in the number's unit; 0 is perfect."),
    ("Log score, log loss", "Minus the logarithm of the probability given to what happened; surprises cost most."),
    ("Brier score", "Squared distance between a probability and what happened (0 or 1); 0 is perfect."),
    ("Calibration", "Of the users given 30 %, 30 % should come. The error is the mean distance from that."),
    ("Coverage", "The share of intervals that held what happened. It should be what they claim."),
)


def method_section(content: ReportContent) -> Section:
    """Model, settings, priors, convergence and versions."""
    return Section(
        name="method",
        title="Method and settings",
        parts=(
            Text(text=_MODEL.format(law=_law(content))),
            *([Text(text=_REGULARS)] if _description(content).get("regulars") else []),
            *_shocks(content),
            Text(text=_TOLD),
            tabulated(pairs(_settings(content)), "Settings of this run", {"Setting": "what", "Value": "value"}),
            _priors(content),
            _convergence(content),
        ),
    )


def glossary_section() -> Section:
    """What the words mean."""
    return Section(name="glossary", title="Glossary", parts=(Listing(items=_GLOSSARY),))


def _law(content: ReportContent) -> str:
    shoulder = _description(content).get("shoulder")
    return _EXPONENTIAL if shoulder is None else _POWER.format(shoulder=number(shoulder))


def _shocks(content: ReportContent) -> tuple[Text, ...]:
    """What all users share, in words; nothing where a fit of an earlier version knows of none."""
    tree, tail = content.decay.idata, (1 - content.scores.ci_prob) / 2
    if SHOCKS not in tree:
        return ()

    def told(name: str) -> str:
        draws = tree[SHOCKS][name]
        return with_interval(float(draws.mean()), *(float(draws.quantile(q)) for q in (tail, 1 - tail)))

    text = _SHOCKS.format(walk=told("sigma_walk"), week=told("sigma_week"))
    return tuple(Text(text=one) for one in (text, season_told(content.decay, content.scores.ci_prob)) if one)


def _settings(content: ReportContent) -> dict[str, Any]:
    history, model = content.history, _description(content)
    facts: dict[str, Any] = {
        "cutoff (last instant seen)": f"{date(history.at)}, {history.at:%H:%M:%S}",
        "activity": history.activity,
        "kinds of events that count": ", ".join(history.kinds) if history.kinds else None,
        "group": history.group,
        "covariates": ", ".join(history.covariates),
        "users that the decay model was fitted to": count(model["users"]) if "users" in model else None,
        "restoration fixed at": model.get("restoration"),
        "coupling fixed at": model.get("coupling"),
        "calendar": _calendar(content),
        "seed of the report's own draws": None if "random seed" in content.settings else content.random_seed,
        **content.settings,
        "versions": ", ".join(_versions(content)),
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _calendar(content: ReportContent) -> str | None:
    """The factors that the fit was told, each with its days."""
    known = calendar_of(content.decay)
    return None if known is None else "; ".join(f"{when}: {factor:g}" for when, factor in known.factors.items())


def _versions(content: ReportContent) -> list[str]:
    found = [f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # nutpie need not be there, nor a bayesdecay that runs from its folder
            continue
    made_by = content.decay.idata.attrs.get("bayesdecay_version")
    return [*found, *([f"the fit was made by bayesdecay {made_by}"] if made_by else [])]


def _priors(content: ReportContent) -> TableView | Text:
    described = _description(content).get("priors", {})
    if not described:
        return Text(text="The fit does not tell its priors.")
    # Groups and covariates have priors that matter only where there are any.
    used = {name: Prior(**prior) for name, prior in described.items() if _is_used(name, content)}
    return tabulated(
        _with_symbols(priors_table(used)),
        "Priors: what was believed before the data were seen, and why (times in days, logarithms natural)",
        {
            "Parameter": "parameter",
            "Prior": "prior",
            "Median": lambda row: number(row["median"]),
            "90 % range": lambda row: interval(row["5 %"], row["95 %"]),
            "Reason": "reason",
        },
    )


def _with_symbols(frame: pd.DataFrame) -> pd.DataFrame:
    """Names of parameters with the letters that the equations have for them."""
    named = [f"{name} ({_SYMBOLS[name]})" if name in _SYMBOLS else name for name in frame["parameter"]]
    return frame.assign(parameter=named)


def _is_used(name: str, content: ReportContent) -> bool:
    base, tree = name.split("[")[0], content.decay.idata
    if SHOCKS in tree and base in tree[SHOCKS].data_vars:
        return True
    variables = tree["posterior"].data_vars
    return base in variables and not variables[base].attrs.get("fixed", 0)


def _convergence(content: ReportContent) -> TableView:
    summary = content.decay.summary(ci_prob=content.scores.ci_prob, allow_unconverged=True)
    lower, upper = (column for column in summary.columns if str(column).endswith(" %"))
    frame: pd.DataFrame = summary.reset_index(names="parameter")
    verdict = str(content.decay.verdict)
    return tabulated(
        _with_symbols(frame),
        f"Posterior of the decay model's parameters (times in days). {verdict[0].upper()}{verdict[1:]}.",
        {
            "Parameter": "parameter",
            "Mean, interval": lambda row: with_interval(row["mean"], row[lower], row[upper]),
            **(_OF_WEIGHTS if "k_hat" in frame else _OF_CHAINS),
        },
    )


_OF_CHAINS: dict[str, Any] = {
    "R-hat": lambda row: f"{row['r_hat']:.3f}",
    "ESS bulk": lambda row: count(row["ess_bulk"]),
    "ESS tail": lambda row: count(row["ess_tail"]),
}
_OF_WEIGHTS: dict[str, Any] = {
    "k-hat": lambda row: f"{row['k_hat']:.2f}",
    "Effective draws": lambda row: count(row["effective_draws"]),
}


def _description(content: ReportContent) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(content.decay.idata.attrs.get("model", "{}"))
    return described
