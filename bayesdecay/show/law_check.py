r"""Which law of fading suits a log: each fitted at the same origins, judged on what followed, and by leaving users out.

In: a log, a horizon, origins. Out: :class:`LawCheck`, a table of the laws and what it says. Two scores that see what is
not fitted:

- held out: the log density that a law's forecast gave to each user's number of activities after the origin;
- leave-one-out: of each user's whole past at the last origin, by Pareto-smoothed importance sampling
  (:mod:`bayesdecay.model.leave_out`), with the user's interest and rate integrated out.

Each has stacking weights, the mixture of laws that would have scored best (:mod:`bayesdecay.show.stacking`). A constant
rate with dropout, BG/NBD, is judged on what is held out alone: its likelihood is of other data.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay import units
from bayesdecay.data.events import Events
from bayesdecay.data.history import History
from bayesdecay.data.ids import positions
from bayesdecay.errors import NotConvergedError
from bayesdecay.model.bgnbd import fit_bgnbd
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.design import FitData
from bayesdecay.model.leave_out import good_k, leave_user_out
from bayesdecay.model.population import loglik_by_row
from bayesdecay.names import USER
from bayesdecay.show.baselines import Baselines, Forecaster
from bayesdecay.show.checks import model_forecaster
from bayesdecay.show.clustered import mean
from bayesdecay.show.judged import Judged, judge
from bayesdecay.show.later import later_activity
from bayesdecay.show.origin_work import CheckOptions, Work
from bayesdecay.show.origins import Origins, origins_of
from bayesdecay.show.rivals import BG, classic_forecaster, recency_frequency
from bayesdecay.show.score_tables import Rows, together
from bayesdecay.show.stacking import stacking_weights
from bayesdecay.show.verdicts import ERRORS
from bayesdecay.show.words import listed, window

__all__ = ["EXPONENTIAL_LAW", "LawCheck", "check_laws", "laws_of"]

Floats = NDArray[np.float64]

EXPONENTIAL_LAW = "exponential"
# Two, since each takes a fit of every law.
_ORIGINS = 2
# Draws that the leave-one-out rests on.
_LEFT_OUT_DRAWS = 400


def laws_of(model: DecayModel) -> dict[str, DecayModel]:
    """Laws to compare, all else being that of the model."""
    power = "30d" if model.shoulder is None or model.shoulder == math.inf else model.shoulder
    return {
        EXPONENTIAL_LAW: replace(model, shoulder=math.inf, regulars=False),
        f"power law, {units.duration_label(power)}": replace(model, shoulder=power, regulars=False),
        "exponential, some never fade": replace(model, shoulder=math.inf, regulars=True),
        f"power law, {units.duration_label(power)}, some never fade": replace(model, shoulder=power, regulars=True),
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class LawCheck:
    """Laws beside each other.

    Attributes
    ----------
    horizon : float
        Length of each time that was forecast [days].
    origins : tuple of Timestamp
        Where forecasts were made.
    table : DataFrame
        A row a law: ``gain`` in held-out log score over the exponential law [nats of all users' forecasts together]
        with ``gain_se`` (users being independent), ``crps`` [counts] and ``crps_gain`` with ``crps_gain_se``, ``ratio``
        of the predicted total to what was seen, ``weight`` by stacking; ``loo_gain`` over the exponential law [nats],
        ``loo_gain_se``, ``loo_weight``; ``khat``, the greatest of the users.
    told : mapping of str to str
        How each law is told to the model; of BG/NBD, which is none of its laws, and of the model's own, nothing.
    notes : tuple of str
        What must be said with it.
    """

    horizon: float
    origins: tuple[pd.Timestamp, ...]
    table: pd.DataFrame
    told: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def better(self) -> pd.DataFrame:
        """Rows of the laws that give clearly better forecasts than the exponential one, the best first."""
        clear = self.table[self.table["gain"] > ERRORS * self.table["gain_se"]]
        return clear.sort_values("gain", ascending=False)

    @property
    def verdict(self) -> str:
        """Say which laws do better than the exponential one, and which does best."""
        clear = self.better
        over = f"forecasts of {window(self.horizon)}"
        if clear.empty:
            return f"No law gives clearly better {over} than the exponential one."
        best = clear.index[0]
        row = clear.loc[best]
        return (
            f"Better {over} than the exponential law: {listed([f'“{name}”' for name in clear.index])}; the best is "
            f"“{best}”, by {row['gain']:.0f} ± {row['gain_se']:.0f} nats."
        )

    def __str__(self) -> str:
        """Say the verdict, above the table."""
        return "\n".join([self.verdict, *self.notes, "", self.table.to_string(float_format="{:.4g}".format)])

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{html.escape(one)}</p>" for one in (self.verdict, *self.notes))
        return f"{said}{self.table.to_html(float_format='{:,.3f}'.format)}"


def check_laws(
    log: Events,
    *,
    horizon: units.Duration,
    origins: Origins = _ORIGINS,
    model: DecayModel | None = None,
    laws: Mapping[str, DecayModel] | None = None,
    options: CheckOptions | None = None,
) -> LawCheck:
    """Compare laws of fading on a log.

    Parameters
    ----------
    log : Events
        What :func:`bayesdecay.read_events` gives.
    horizon : duration
        How far is forecast from each origin, such as ``"90d"``.
    origins : int, date or several dates
        How many at most, chosen so that the times forecast do not overlap; or which.
    model : DecayModel, optional
        What the laws have in common; the default one unless told.
    laws : mapping of str to DecayModel, optional
        Other laws than those of :func:`laws_of`; the first is the one that gains are over.
    options : CheckOptions, optional
        What counts, sampling, seed, progress.

    Returns
    -------
    LawCheck

    Raises
    ------
    DataError
        If the log is not longer than the horizon, or too little is known at an origin to learn from.
    NotConvergedError
        If the fit of a law did not converge and ``allow_unconverged`` is not set.
    """
    told = options or CheckOptions()
    (length,) = units.durations(horizon).values()
    cutoffs = origins_of(log, length, asked=origins, until=told.until, kinds=told.kinds)
    models = dict(laws or laws_of(model or DecayModel()))
    work = Work(log=log, length=length, model=next(iter(models.values())), options=told)
    looks = [_look(work, models, at) for at in cutoffs]
    last = looks[-1].history.table[USER]
    rows = together([look.rows for look in looks], [positions(look.history.table[USER], last) for look in looks])
    table = _held_out(rows).join(_left_out(looks[-1]))
    notes = [*dict.fromkeys(note for look in looks for note in look.notes), *_doubts(table)]
    how = {name: _told(one) for name, one in models.items() if one != model}
    return LawCheck(horizon=length, origins=tuple(cutoffs), table=table, told=how, notes=tuple(notes))


def _told(model: DecayModel) -> str:
    """Options of the command line, and of the model, that make this law."""
    inf = model.shoulder == math.inf
    shoulder = "none" if inf else "" if model.shoulder is None else units.duration_label(model.shoulder)
    words = [f"--shoulder {shoulder}"] if shoulder else []
    given = [f"shoulder={'math.inf' if inf else repr(shoulder)}"] if shoulder else []
    if model.regulars is not None:
        words += ["--regulars" if model.regulars else "--no-regulars"]
        given += [f"regulars={model.regulars}"]
    return f"{' '.join(words)} (DecayModel({', '.join(given)}))" if words else "the default"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Look:
    """The laws at one origin."""

    history: History
    rows: Rows
    fits: Mapping[str, DecayFit]
    notes: list[str] = field(default_factory=list)


def _look(work: Work, models: Mapping[str, DecayModel], at: pd.Timestamp) -> _Look:
    told, history = work.options, work.history(at)
    later = later_activity(work.log, history, work.length, periods=1)
    base, rng = Baselines.of(history, samples=told.draws), np.random.default_rng(told.random_seed)
    judged: dict[str, Judged] = {}
    fits: dict[str, DecayFit] = {}
    for name, model in models.items():
        fits[name] = fit = replace(work, model=model).fit(history)
        if not (fit.verdict.converged or told.allow_unconverged):
            raise NotConvergedError(
                f"law {name!r} at {at:%Y-%m-%d}: {fit.verdict}; leave it out of laws=, or judge it all the same with "
                "allow_unconverged=True"
            )
        forecaster = model_forecaster(fit.population(told.draws, allow_unconverged=True))
        judged[name] = judge(forecaster, history, later, base=base, ci_prob=told.ci_prob, rng=rng)
    notes = []
    try:
        dropout: Forecaster = classic_forecaster(fit_bgnbd(*recency_frequency(history)), samples=told.draws)
        judged[BG] = judge(dropout, history, later, base=base, ci_prob=told.ci_prob, rng=rng)
    except NotConvergedError:
        notes.append(f"{BG} is missing at {at:%Y-%m-%d}: no maximum of its likelihood was found.")
    return _Look(history=history, rows=Rows.of(judged, history, later.counts[:, -1]), fits=fits, notes=notes)


def _doubts(table: pd.DataFrame) -> list[str]:
    """Tell the laws whose leave-one-out rests on a few draws of some user."""
    most = good_k(_LEFT_OUT_DRAWS)
    return [
        f"Leave-one-out of “{name}” cannot be relied on: k-hat is {khat:.2f} for some user, above {most:.2f}."
        for name, khat in table["khat"].items()
        if khat > most
    ]


def _held_out(rows: Rows) -> pd.DataFrame:
    """Score the laws on what followed; gains are over the first."""
    first, *_ = rows.judged.values()
    weights = _weights({name: -one.log_score for name, one in rows.judged.items()})
    found = {}
    for name, one in rows.judged.items():
        gain, gain_se = _total(first.log_score - one.log_score, rows.user)
        nearer, nearer_se = _mean(first.crps - one.crps, rows.user)
        found[name] = {
            "gain": gain,
            "gain_se": gain_se,
            "crps": float(np.nanmean(one.crps)),
            "crps_gain": nearer,
            "crps_gain_se": nearer_se,
            "ratio": float(one.total.mean() / rows.seen.sum()) if rows.seen.sum() else math.nan,
            "weight": weights.get(name, math.nan),
        }
    return pd.DataFrame(found).T.rename_axis("law")


def _mean(values: Floats, user: NDArray[np.int64]) -> tuple[float, float]:
    here = np.isfinite(values)
    return mean(values[here], user[here]) if here.any() else (math.nan, math.nan)


def _total(values: Floats, user: NDArray[np.int64]) -> tuple[float, float]:
    average, error = _mean(values, user)
    rows = int(np.isfinite(values).sum())
    return average * rows, error * rows


def _weights(log_density: Mapping[str, Floats]) -> dict[str, float]:
    """Stacking weights of those who say something of every row."""
    whole = {name: values for name, values in log_density.items() if np.isfinite(values).all()}
    return dict(zip(whole, stacking_weights(np.array(list(whole.values()))).tolist(), strict=True))


def _left_out(look: _Look) -> pd.DataFrame:
    """Leave each user of the last origin out of each law's fit."""
    data = FitData.of(look.history)
    rows = np.arange(data.weight.size)
    elpd, khat = {}, {}
    for name, fit in look.fits.items():
        population = fit.population(_LEFT_OUT_DRAWS, allow_unconverged=True)
        elpd[name], tails = leave_user_out(loglik_by_row(population, data.block), rows)
        khat[name] = float(tails.max())
    every = np.repeat(rows, data.weight.astype(np.int64))
    weights = _weights({name: values[every] for name, values in elpd.items()})
    first, *_ = elpd.values()
    found = {}
    for name, values in elpd.items():
        gain, gain_se = _total((values - first)[every], np.arange(every.size))
        found[name] = {"loo_gain": gain, "loo_gain_se": gain_se, "loo_weight": weights[name], "khat": khat[name]}
    return pd.DataFrame(found).T
