"""Whom does an e-mail move? Our one model and the field's learners on a randomised experiment, ten random halves.

Each half of the Hillstrom experiment is learned from once and the other half judged, for both e-mails. Our model sees
all three arms at once and learns from the data how far effects differ; the learners are set by hand.

    python tests/benchmarks/bench_uplift.py
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measuring import ROOT, arguments, goal, markdown, stamp, tell
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bayesdecay import DrawOptions, EffectModel, Experiment, Sampling, read_experiment, uplift_calibration, uplift_curve

__all__ = ["main"]

FEATURES = ["recency", "history", "mens", "womens", "newbie", "zip_code", "channel"]
FORMULA = "visit ~ recency + log1p(history) + mens + womens + newbie + zip_code + channel"
CONTROL, ARMS, OUTCOME = "No E-Mail", ("Womens E-Mail", "Mens E-Mail"), "visit"
HALVES, SHARE, OURS = 10, 0.3, "bayesdecay, effects shrunk by a learned scale"
LEAST_COVERAGE, MOST_COVERAGE = 0.85, 0.95

Learner = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def main() -> None:
    """Measure and print the section."""
    parser = arguments(__doc__)
    shared = os.environ.get("BAYESDECAY_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(shared), help="folder of the logs that are not carried")
    asked = parser.parse_args()
    table = pd.read_parquet(asked.data / "hillstrom_half" / "experiment.parquet")
    rows: list[dict[str, Any]] = []
    covered: list[dict[str, Any]] = []
    verdicts = []
    for half in range(2 if asked.quick else HALVES):
        learned = np.random.default_rng(half).permutation(len(table)) < len(table) // 2
        past, others = table[learned], table[~learned]
        fit = EffectModel(formula=FORMULA).fit(
            _experiment(past), sampling=Sampling(draws=150, tune=150) if asked.quick else None, random_seed=half
        )
        verdicts.append(fit.verdict)
        tell(f"half {half}: {fit.verdict}")
        for arm in ARMS:
            judged = _experiment(others[others["segment"].isin([CONTROL, arm])])
            drawn = fit.draws(judged, options=DrawOptions(draws=400, random_seed=half, allow_unconverged=True))
            gained = drawn.sel(arm=arm) - drawn.sel(arm=CONTROL)
            told = uplift_calibration(judged, gained.to_numpy(), outcome=OUTCOME, arm=arm)
            covered.append({"arm": arm, "covered": int(told.table["covered"].sum()), "of": len(told.table)})
            scores = {OURS: gained.mean("sample").to_numpy()} | dict(_rivals(past, judged, arm, half))
            for name, score in scores.items():
                curve = uplift_curve(judged, score, outcome=OUTCOME, arm=arm)
                # Radcliffe's count, divided by the users of both arms, as the field's programs show it.
                qini = 1e4 * curve.coefficient["qini"] / 2
                rows.append({"learner": name, "arm": arm, "half": half, "qini": qini, "gain": curve.at(SHARE)["gain"]})
    print("\n\n".join(["## Whom an e-mail moves", *_words(pd.DataFrame(rows), pd.DataFrame(covered), verdicts)]))


def _experiment(table: pd.DataFrame) -> Experiment:
    return read_experiment(table, user="row_id", arm="segment", control=CONTROL, outcomes=[OUTCOME], features=FEATURES)


def _rivals(past: pd.DataFrame, judged: Experiment, arm: str, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Score the users that are judged by each of the field's learners."""
    known = past[past["segment"].isin([CONTROL, arm])]
    encoded = _encoded(pd.concat([known[FEATURES], judged.table[FEATURES]]))
    x, new = encoded[: len(known)], encoded[len(known) :]
    treated, came = (known["segment"] == arm).to_numpy(dtype=float), known[OUTCOME].to_numpy()
    for strength in (1.0, 0.01, 0.003):
        yield f"two logistic regressions, C = {strength:g}", _two(x, treated, came, new, _logistic(strength))
        yield f"logistic regression with interactions, C = {strength:g}", _interacting(x, treated, came, new, strength)
    yield "two boosted models", _two(x, treated, came, new, lambda: HistGradientBoostingClassifier(random_state=seed))
    boosted = HistGradientBoostingClassifier(random_state=seed).fit(np.column_stack([x, treated]), came)
    yield "one boosted model", _difference(boosted, lambda given: np.column_stack([new, np.full(len(new), given)]))
    yield "ranking by response", _logistic(1.0)().fit(x, came).predict_proba(new)[:, 1]
    yield "random", np.random.default_rng(seed).random(len(new))


def _encoded(table: pd.DataFrame) -> np.ndarray:
    plain = table.assign(history=np.log1p(table["history"]))
    return StandardScaler().fit_transform(pd.get_dummies(plain, drop_first=True).to_numpy(dtype=float))


def _logistic(strength: float) -> Callable[[], LogisticRegression]:
    return lambda: LogisticRegression(C=strength, max_iter=2_000)


def _two(x: np.ndarray, treated: np.ndarray, came: np.ndarray, new: np.ndarray, make: Callable[[], Any]) -> np.ndarray:
    with_it, without = (make().fit(x[treated == arm], came[treated == arm]).predict_proba(new)[:, 1] for arm in (1, 0))
    return with_it - without


def _interacting(x: np.ndarray, treated: np.ndarray, came: np.ndarray, new: np.ndarray, strength: float) -> np.ndarray:
    def wide(features: np.ndarray, given: np.ndarray) -> np.ndarray:
        return np.column_stack([features, given, features * given[:, None]])

    fitted = _logistic(strength)().fit(wide(x, treated), came)
    return _difference(fitted, lambda given: wide(new, np.full(len(new), given)))


def _difference(fitted: Any, rows: Callable[[float], np.ndarray]) -> np.ndarray:
    with_it, without = (fitted.predict_proba(rows(given))[:, 1] for given in (1.0, 0.0))
    return with_it - without


def _words(rows: pd.DataFrame, covered: pd.DataFrame, verdicts: list[Any]) -> list[str]:
    halves = rows["half"].nunique()
    parts, goals = [], []
    for arm in ARMS:
        own = rows[rows["arm"] == arm].pivot_table(index="half", columns="learner", values=["qini", "gain"])
        qini, gain = own["qini"], own["gain"]
        best = qini.mean().idxmax()
        behind = qini[best] - qini[OURS]
        error = behind.std(ddof=1) / np.sqrt(halves)
        table = pd.DataFrame(
            {
                "Qini × 1e4": qini.mean().map("{:.1f}".format),
                "gain at 30 %": gain.mean().map("{:.4f}".format),
                "ours less this, Qini × 1e4": [
                    ""
                    if name == OURS
                    else f"{(qini[OURS] - qini[name]).mean():.1f} ± {_error(qini[OURS] - qini[name])}"
                    for name in qini.columns
                ],
            }
        ).loc[qini.mean().sort_values(ascending=False).index]
        parts += [f"### {arm}", markdown(table.reset_index())]
        said = f"best is {best}" + ("" if best == OURS else f", ahead by {behind.mean():.1f} ± {error:.1f}")
        goals.append(
            goal(
                f"Goal, {arm}: best or within one standard error of the best ({said})",
                met=best == OURS or bool(behind.mean() <= error),
            )
        )
    share = covered["covered"].sum() / covered["of"].sum()
    goals.append(
        goal(
            f"Goal, 90 % intervals of the uplift of deciles cover what came in {LEAST_COVERAGE:.0%} to "
            f"{MOST_COVERAGE:.0%} ({share:.1%} of {covered['of'].sum()} deciles)",
            met=bool(LEAST_COVERAGE <= share <= MOST_COVERAGE),
        )
    )
    good = sum(one.converged for one in verdicts)
    return [
        stamp("pymc", "nutpie", "scikit-learn"),
        (
            f"{halves} random halves of 32,000 randomised users, learned from one half and judged on the other; "
            f"outcome {OUTCOME}, features {', '.join(FEATURES)}. The Qini coefficient counts increments among the "
            "treated per user of both arms; gain is the uplift of contacting the first 30 %, per user of the whole "
            f"list. {good} of {len(verdicts)} of our fits converged with default sampling. The halves overlap, so the "
            "standard errors are a guide and no more."
        ),
        *parts,
        "\n".join(f"- {one}" for one in goals),
    ]


def _error(difference: pd.Series) -> str:
    return f"{difference.std(ddof=1) / np.sqrt(len(difference)):.1f}"


if __name__ == "__main__":
    main()
