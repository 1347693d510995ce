"""Forecasts of 39 weeks that no model had seen, beside the two classics: CDNOW, all customers, cutoff 1997-09-30.

python tests/benchmarks/bench_heldout.py
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from measuring import arguments, goal, markdown, stamp, tell
from peers import fit_paretonbd

from bayesdecay import DecayFit, DecayModel, History, Sampling, load_cdnow, read_events, summarize
from bayesdecay.model.bgnbd import fit_bgnbd
from bayesdecay.model.population import Population
from bayesdecay.model.scoring import Forecast, forecast_counts
from bayesdecay.show.baselines import Forecaster
from bayesdecay.show.checks import MODEL, ForecastCheck, check_forecast
from bayesdecay.show.later import later_activity
from bayesdecay.show.rivals import BG, classic_forecaster, recency_frequency

__all__ = ["main"]

CUTOFF, LENGTH = "1997-09-30", "273d"
CLASSICS = {BG: fit_bgnbd, "Pareto/NBD": fit_paretonbd}
FIXED = {
    "exponential, ρ = 0": DecayModel(restoration=0.0, shoulder=math.inf, regulars=False),
    "exponential, ρ = 1": DecayModel(restoration=1.0, shoulder=math.inf, regulars=False),
    "power law of 30 days, some never fade": DecayModel(shoulder="30d", regulars=True),
}
COVERAGE = (0.88, 0.96)
# Kept draws of each of 4 chains. Counts are simulated once a draw: with 1,600 draws in all the noise of rare counts
# adds 0.006 to the log score beside 6,400, with 200 it adds 0.03.
DRAWS = 1_600
SHOWN = {
    "crps": "CRPS",
    "log_score": "log score",
    "brier": "Brier",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
    "coverage": "coverage",
}


def main() -> None:
    """Fit, check and print the section."""
    asked = arguments(__doc__).parse_args()
    log = read_events(load_cdnow(sample=asked.quick))
    history = summarize(log, at=CUTOFF)
    models = {MODEL: DecayModel(), **FIXED}
    fits = {name: model.fit(history, sampling=Sampling(draws=DRAWS), random_seed=1) for name, model in models.items()}
    for name, fit in fits.items():
        tell(f"{name}: {fit.verdict}")
    # A fit that did not converge is not hidden: its verdict stands in the section.
    populations = {name: fit.population(allow_unconverged=True) for name, fit in fits.items()}
    learned = populations[MODEL]
    others: dict[str, Forecaster] = {name: _forecaster(populations[name]) for name in FIXED}
    for name, fit_classic in CLASSICS.items():
        classic = fit_classic(*recency_frequency(history))
        tell(f"{classic}")
        others[name] = classic_forecaster(classic, samples=learned.size)
    later = later_activity(log, history, LENGTH)
    check = check_forecast(learned, history, later, others=others, random_seed=1)
    tell(check.table.to_string())
    print("\n\n".join(["## Forecasts of what was not seen", *_words(check, fits)]))


def _forecaster(population: Population) -> Forecaster:
    def forecast(history: History, length: float, rng: np.random.Generator) -> Forecast:
        return forecast_counts(population, history, length, random_seed=int(rng.integers(2**63)))

    return forecast


def _words(check: ForecastCheck, fits: dict[str, DecayFit]) -> list[str]:
    return [
        stamp("pymc", "nutpie", "scipy"),
        (
            f"CDNOW, {check.users:,} customers, fitted until {check.at.date()}; forecast: on how many days each of "
            f"them buys in the {check.length / 7:.0f} weeks after it. The decay model by 4 chains of {DRAWS:,} draws, "
            "with the restoration ρ and the law learned; BG/NBD and Pareto/NBD by maximum likelihood, made by hand. "
            "CRPS [days], log score and log loss [nats] and Brier are means over the customers, smaller is better, ± "
            "one standard error; calibration error and log loss are of P(any purchase); coverage is of the 90 % "
            "intervals, which being of whole numbers claim more. For the logarithms, every forecast is mixed with one "
            "part in 1,601 "
            "of the same forecast for everyone, since draws alone would rule out counts that were never drawn."
        ),
        markdown(_scores(check)),
        "\n".join([_goal_line(check, MODEL), _coverage_line(check), *(_goal_line(check, name) for name in FIXED)]),
        "\n".join(f"- Sampling, {name}: {fit.verdict}." for name, fit in fits.items()),
        (
            "Paired differences, customer by customer: mean score of the other less that of the decay model with ρ "
            "learned; above zero means that the decay model is better."
        ),
        markdown(_differences(check)),
        (
            "All customers together. The intervals of the decay models know that their parameters are uncertain and "
            "that the pace of all customers together wanders, as it did in the weeks before the cutoff; those of the "
            "classics know neither."
        ),
        markdown(_totals_table(check)),
        "The decay model, ρ learned, by the end of the time forecast:",
        markdown(_by_window(check)),
    ]


def _scores(check: ForecastCheck) -> pd.DataFrame:
    table = check.table
    shown = {
        label: [f"{value:.4f} ± {se:.4f}" for value, se in zip(table[name], table[f"{name}_se"], strict=True)]
        for name, label in SHOWN.items()
    }
    columns = {"forecaster": table.index, **shown, "claimed": table["claimed"].map("{:.3f}".format)}
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def _differences(check: ForecastCheck) -> pd.DataFrame:
    rows = check.against
    cells = [f"{gain:+.5f} ± {se:.5f}" for gain, se in zip(rows["gain"], rows["gain_se"], strict=True)]
    wide = rows.assign(cell=cells).pivot(index="forecaster", columns="score", values="cell")
    wide = wide.loc[rows["forecaster"].unique(), [name for name in SHOWN if name in wide.columns]]
    return wide.rename(columns=SHOWN).reset_index().rename_axis(columns=None)


def _goal_line(check: ForecastCheck, name: str) -> str:
    scores = ["crps", "brier", "log_score"]
    own, classics = check.table.loc[name, scores], check.table.loc[list(CLASSICS), scores]
    worse = [
        f"{SHOWN[score]} than {classic}"
        for score in scores
        for classic in CLASSICS
        if classics.loc[classic, score] <= own[score]
    ]
    said = goal(f"Goal, {name}: better than BG/NBD and Pareto/NBD on CRPS, Brier and log score", met=not worse)
    return f"- {said}{' (no better: ' + ', '.join(worse) + ')' if worse else ''}"


def _coverage_line(check: ForecastCheck) -> str:
    coverage = float(check.table.loc[MODEL, "coverage"])
    met = COVERAGE[0] <= coverage <= COVERAGE[1]
    return "- " + goal(f"Goal, coverage between {COVERAGE[0]} and {COVERAGE[1]} ({coverage:.3f})", met=met)


def _totals_table(check: ForecastCheck) -> pd.DataFrame:
    table = check.table
    return pd.DataFrame(
        {
            "forecaster": table.index,
            "predicted in all": [f"{value:,.0f}" for value in table["total"]],
            "90 % interval": [
                f"{low:,.0f} to {high:,.0f}"
                for low, high in zip(table["total_lower"], table["total_upper"], strict=True)
            ],
            "seen": [f"{value:,.0f}" for value in table["seen"]],
            "predicted / seen": [f"{share:.2f}" for share in table["total"] / table["seen"]],
        }
    )


def _by_window(check: ForecastCheck) -> pd.DataFrame:
    table = check.total
    return pd.DataFrame(
        {
            "until day": [f"{end:.0f}" for end in table["to"]],
            "predicted": [f"{value:,.0f}" for value in table["predicted"]],
            "90 % interval": [
                f"{low:,.0f} to {high:,.0f}"
                for low, high in zip(table["predicted_lower"], table["predicted_upper"], strict=True)
            ],
            "seen": [f"{value:,.0f}" for value in table["seen"]],
        }
    )


if __name__ == "__main__":
    main()
