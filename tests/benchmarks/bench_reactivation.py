"""Who comes back: our models beside scikit-learn's and BG/NBD on three real logs, at rolling cutoffs.

At each origin everything is learned from what the log shows up to it: the decay model from the history there, the
others from snapshots at earlier cutoffs, a horizon apart, whose outcomes are known by then. All are judged on what the
users of the origin did within the horizon after it.

    python tests/benchmarks/bench_reactivation.py [--data FOLDER] [--only cdnow]
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from measuring import ROOT, arguments, goal, markdown, stamp, tell
from scipy.special import xlogy
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from bayesdecay import (
    DecayFit,
    DecayModel,
    Events,
    History,
    ReactivationModel,
    Sampling,
    ScoreOptions,
    Snapshots,
    load_cdnow,
    read_events,
    snapshots,
    summarize,
)
from bayesdecay.model.bgnbd import fit_bgnbd
from bayesdecay.model.reactivation import CURVED_FORMULA
from bayesdecay.model.retry import fitted
from bayesdecay.show.rivals import recency_frequency
from bayesdecay.show.scoring_rules import calibration

__all__ = ["main"]

FEATURES = ["recency", "frequency", "tenure", "active_7d", "active_30d", "active_90d"]
OURS = "reactivation model"
# The score that has to be best, or within a standard error of the best, and below what the calibration error must be.
RULES, MOST_ERROR, LEAST_ROWS = ("log loss", "Brier"), 0.02, 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A log, its origins, and the windows [days]; ``first`` is the earliest cutoff that is learned from."""

    name: str
    origins: tuple[str, ...]
    first: str
    horizon: int
    lapsed_after: int
    kinds: tuple[str, ...] | None = None

    def cutoffs(self, origin: str) -> list[str]:
        """Cutoffs to learn from, a horizon apart, whose outcomes are known at the origin."""
        last, first = pd.Timestamp(origin), pd.Timestamp(self.first)
        count = (last - first).days // self.horizon
        return [f"{last - pd.Timedelta(days=self.horizon * (i + 1)):%Y-%m-%d}" for i in range(count)]


CASES = (
    Case(
        name="cdnow",
        origins=("1997-09-30", "1997-12-31", "1998-03-31"),
        first="1997-03-31",
        horizon=90,
        lapsed_after=60,
    ),
    Case(
        name="tmall_2014",
        origins=("2013-07-04", "2013-07-18", "2013-08-01"),
        first="2013-05-08",
        horizon=14,
        lapsed_after=7,
    ),
    Case(
        name="completejourney",
        origins=("2017-09-30", "2017-10-31", "2017-11-30"),
        first="2017-02-15",
        horizon=30,
        lapsed_after=30,
        kinds=("purchase",),
    ),
)


def main() -> None:
    """Measure and print the section."""
    parser = arguments(__doc__)
    shared = os.environ.get("BAYESDECAY_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(shared), help="folder of the logs that are not carried")
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES], help="these logs alone")
    asked = parser.parse_args()
    tables = []
    for case in CASES:
        if asked.only and case.name not in asked.only:
            continue
        log = _read(case, asked.data)
        if log is None:
            tell(f"{case.name}: skipped, no log in {asked.data}")
            continue
        judged = replace(case, origins=case.origins[:1]) if asked.quick else case
        tables.append(_scores(_forecasts(judged, log), judged))
    print("\n\n".join(["## Who comes back", *_words(pd.concat(tables, ignore_index=True))]))


def _read(case: Case, data: Path) -> Events | None:
    if case.name == "cdnow":
        return read_events(load_cdnow())
    path = data / case.name / "events.parquet"
    return read_events(path, user="user_id", time="timestamp", kind="event_type") if path.is_file() else None


def _forecasts(case: Case, log: Events) -> pd.DataFrame:
    """Every model's P(return) of every user at every origin, for all users and for the lapsed ones."""
    parts = []
    for origin in case.origins:
        history = summarize(log, at=origin, kinds=case.kinds)
        decay = fitted(partial(_decay, history), None, tell)
        tell(f"{case.name}, {origin}: decay model {decay.verdict}")
        for whom, silence in (("all", None), ("lapsed", f"{case.lapsed_after}d")):
            options = {
                "horizon": f"{case.horizon}d",
                "lapsed_after": silence,
                "features": FEATURES,
                "kinds": case.kinds,
            }
            past = snapshots(log, cutoffs=case.cutoffs(origin), observed_until=origin, **options)
            now = snapshots(log, cutoffs=origin, **options)
            found = now.table[["user", "returned"]].assign(origin=origin, whom=whom)
            for name, forecast in FORECASTERS.items():
                began = time.perf_counter()
                found[name] = forecast(past, now, history, decay)
                tell(f"{case.name}, {origin}, {whom}: {name} in {time.perf_counter() - began:.0f} s")
            parts.append(found)
    return pd.concat(parts, ignore_index=True)


def _decay(history: History, sampling: Sampling | None) -> DecayFit:
    return DecayModel().fit(history, sampling=sampling, random_seed=1)


def _ours(past: Snapshots, now: Snapshots, history: History, decay: DecayFit) -> np.ndarray:
    model = ReactivationModel(formula=CURVED_FORMULA if past.lapsed_after == 0 else _of_lapsed(past))
    fit = fitted(lambda sampling: model.fit(past, decay, sampling=sampling, random_seed=1), None, tell)
    tell(f"{OURS}: {fit.verdict}")
    return fit.draws(now, decay, random_seed=1).mean("sample").to_numpy()


def _of_lapsed(past: Snapshots) -> str:
    """Leave out windows within which every lapsed user is silent."""
    dead = [name for name in FEATURES if past.table[name].nunique() == 1]
    terms = CURVED_FORMULA.partition("~")[2].split(" + ")
    return "returned ~ " + " + ".join(term.strip() for term in terms if not any(name in term for name in dead))


def _decay_alone(past: Snapshots, now: Snapshots, history: History, decay: DecayFit) -> np.ndarray:
    options = ScoreOptions(horizons={"h": now.horizon}, random_seed=1)
    (own,) = now.histories.values()
    return decay.score(own, options=options).to_pandas()["p_return_h"].to_numpy()


def _sklearn(make: Callable[[], object]) -> Callable[..., np.ndarray]:
    def forecast(past: Snapshots, now: Snapshots, history: History, decay: DecayFit) -> np.ndarray:
        model = make().fit(past.table[FEATURES].to_numpy(float), past.table["returned"].to_numpy(bool))
        return model.predict_proba(now.table[FEATURES].to_numpy(float))[:, 1]

    return forecast


def _bgnbd(past: Snapshots, now: Snapshots, history: History, decay: DecayFit) -> np.ndarray:
    classic = fit_bgnbd(*recency_frequency(history))
    (own,) = now.histories.values()
    return 1.0 - classic.count_pmf(*recency_frequency(own), window=now.horizon, most=0)[:, 0]


FORECASTERS = {
    "decay model alone": _decay_alone,
    OURS: _ours,
    "logistic regression": _sklearn(lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=5_000))),
    "logistic regression, logarithms": _sklearn(
        lambda: make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression(max_iter=5_000))
    ),
    "gradient boosting": _sklearn(lambda: HistGradientBoostingClassifier(random_state=1)),
    "gradient boosting, careful": _sklearn(
        lambda: HistGradientBoostingClassifier(
            learning_rate=0.05, max_leaf_nodes=8, early_stopping=True, random_state=1
        )
    ),
    "BG/NBD": _bgnbd,
}


def _scores(forecasts: pd.DataFrame, case: Case) -> pd.DataFrame:
    """A row a model: its scores over all origins, and the difference to the best with its standard error."""
    rows = []
    for whom, part in forecasts.groupby("whom"):
        y, user = part["returned"].to_numpy(float), part["user"].to_numpy()
        own = {name: _losses(part[name].to_numpy(), y) for name in FORECASTERS}
        for name, losses in own.items():
            row = {"log": case.name, "users": whom, "rows": y.size, "returned": y.mean(), "model": name}
            row["AUC"] = roc_auc_score(y, part[name])
            row["calibration error"] = calibration(part[name].to_numpy(), y > 0).error
            for rule in RULES:
                best = min(own.values(), key=lambda one: one[rule].mean())[rule]
                row[rule] = losses[rule].mean()
                row[f"{rule} above best"] = (losses[rule] - best).mean()
                row[f"{rule} se"] = _clustered_error(losses[rule] - best, user)
            rows.append(row)
    return pd.DataFrame(rows)


def _losses(p: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return {"log loss": -xlogy(y, p) - xlogy(1 - y, 1 - p), "Brier": (p - y) ** 2}


def _clustered_error(values: np.ndarray, user: np.ndarray) -> float:
    """Standard error of a mean over rows of which those of one user go together."""
    _, index = np.unique(user, return_inverse=True)
    return float(np.sqrt((np.bincount(index, weights=values - values.mean()) ** 2).sum()) / values.size)


def _words(table: pd.DataFrame) -> list[str]:
    parts = [
        stamp("scikit-learn", "numpy"),
        (
            "P(return within the horizon) of users at three origins a log, out of sample; scikit-learn's models see "
            "recency, frequency, tenure and activities within 7, 30 and 90 days, ours the same and the uncertain "
            f"interest: `{CURVED_FORMULA}`. Differences to the best with standard errors clustered by user."
        ),
    ]
    for (log, whom), part in table.groupby(["log", "users"], sort=False):
        first = part.iloc[0]
        head = f"### {log}, {whom} users: {first['rows']:,} rows, {first['returned']:.1%} returned"
        shown = pd.DataFrame(
            {
                "model": part["model"],
                "AUC": part["AUC"].map("{:.4f}".format),
                **{rule: part[rule].map("{:.4f}".format) for rule in RULES},
                **{
                    f"{rule} above the best": [
                        f"{a:.4f} ± {b:.4f}"
                        for a, b in zip(part[f"{rule} above best"], part[f"{rule} se"], strict=True)
                    ]
                    for rule in RULES
                },
                "calibration error": part["calibration error"].map("{:.4f}".format),
            }
        )
        parts += [head, markdown(shown), *_goals(part.set_index("model").loc[OURS])]
    return parts


def _goals(ours: pd.Series) -> list[str]:
    said = [
        goal(
            f"- Goal, best or within one standard error of the best on {rule}",
            met=ours[f"{rule} above best"] <= ours[f"{rule} se"],
        )
        for rule in RULES
    ]
    if ours["rows"] > LEAST_ROWS:
        error = ours["calibration error"]
        said.append(goal(f"- Goal, calibration error below {MOST_ERROR} ({error:.4f})", met=error < MOST_ERROR))
    return ["\n".join(said)]


if __name__ == "__main__":
    main()
