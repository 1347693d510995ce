"""What a candidate says of rows that it has not learned from, in three ways.

============  ========================================================================================================
``rolling``   at each cutoff all is learned from what the log shows up to it, and that cutoff's rows are forecast
``kfold``     users in folds; those of one fold are forecast by a reactivation model that learned from the others
``loo``       one fit; each user's rows as they would be forecast had the user not been seen (PSIS)
============  ========================================================================================================

For ``kfold`` and ``loo`` the decay model is fitted once, to all users as they stood at the earliest cutoff, so that
its parameters have seen no outcome; a user's interest follows from the user's own past up to each cutoff.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay import names
from bayesdecay.data.folds import folds
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.leave_out import leave_user_out
from bayesdecay.model.posterior import Verdict
from bayesdecay.model.retry import fitted
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.show.candidates import Candidate
from bayesdecay.show.question import CompareOptions, Question, rows_of

__all__ = ["WAYS", "HeldOut", "Work", "user_numbers"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Users whose draws of P are in memory at a time: with 400 draws 64 MB.
_USERS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """What a candidate said.

    ``p`` (row,): P(returned) by a model that had not seen the row; ``verdicts`` of its fits by name, and the
    ``seconds`` they took, those of a shared fit as if it were the candidate's own; ``khat`` (row,) of leave-one-out
    from so many ``draws``, else None.
    """

    p: Floats
    verdicts: Mapping[str, Verdict]
    seconds: float
    khat: Floats | None = None
    draws: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """One candidate at work on the rows that it is judged on.

    ``decays`` holds the decay fits made so far with their seconds, for the candidates that share them; ``fits`` the
    verdict and the seconds of each fit of this candidate.
    """

    question: Question
    name: str
    candidate: Candidate
    judged: Snapshots
    decays: dict[Hashable, tuple[DecayFit, float]]
    fits: dict[str, tuple[Verdict, float]] = field(default_factory=dict)

    @property
    def options(self) -> CompareOptions:
        """How candidates are compared."""
        return self.question.options

    def decay(self, at: pd.Timestamp) -> DecayFit:
        """Fit the decay model to what is known at a cutoff, or take the fit of a candidate with the same."""
        key = (self.candidate.decay_key, at)
        if key not in self.decays:
            history = self.question.history(self.candidate, at)
            self.decays[key] = self._fitted(partial(self.candidate.decay.fit, history))
        return self._noted(f"decay model at {at:%Y-%m-%d}", *self.decays[key])

    def learn(self, what: str, past: Snapshots, decay: DecayFit) -> ReactivationFit:
        """Fit the reactivation model."""
        fit = partial(self.candidate.reactivation.fit, past, decay, allow_unconverged=True)
        return self._noted(what, *self._fitted(fit))

    def _fitted[F: (DecayFit, ReactivationFit)](self, fit: Callable[..., F]) -> tuple[F, float]:
        began, seed = time.perf_counter(), self.options.random_seed
        found = fitted(
            lambda sampling: fit(sampling=sampling, random_seed=seed), self.options.sampling, self.options.tell
        )
        return found, time.perf_counter() - began

    def _noted[F: (DecayFit, ReactivationFit)](self, what: str, fit: F, seconds: float) -> F:
        self.fits[what] = fit.verdict, seconds
        self.options.tell(f"{self.name}: {what}: {fit.verdict}")
        return fit

    def loglik(self, fit: ReactivationFit, told: Snapshots, decay: DecayFit) -> Floats:
        """Log-likelihood (sample, row) of outcomes."""
        found = fit.log_likelihood(told, decay, draws=self.options.draws, allow_unconverged=True)
        return np.asarray(found.transpose(names.SAMPLE, ...).to_numpy())

    def forecast(self, fit: ReactivationFit, told: Snapshots, decay: DecayFit) -> Floats:
        """P(returned) (row,) of snapshots, whatever became of them."""
        p = np.empty(len(told))
        for some in _blocks(told):
            part = rows_of(told, some)
            came = replace(part, table=part.table.assign(**{names.RETURNED: pd.array([True] * len(part))}))
            p[some] = np.exp(self.loglik(fit, came, decay)).mean(axis=0)
        return p

    def found(self, p: Floats, *, khat: Floats | None = None, draws: int = 0) -> HeldOut:
        """Put together what was found."""
        return HeldOut(
            p=p,
            verdicts={what: verdict for what, (verdict, _) in self.fits.items()},
            seconds=sum(seconds for _, seconds in self.fits.values()),
            khat=khat,
            draws=draws,
        )


def _rolling(work: Work) -> HeldOut:
    at = work.judged.table[names.AT].to_numpy()
    p = np.empty(len(work.judged))
    for origin in work.judged.histories:
        decay = work.decay(origin)
        past = work.question.past(work.candidate, origin)
        fit = work.learn(f"reactivation model at {origin:%Y-%m-%d}", past, decay)
        own = at == origin.to_datetime64()
        p[own] = work.forecast(fit, rows_of(work.judged, own), decay)
    return work.found(p)


def _kfold(work: Work) -> HeldOut:
    fold = folds(work.judged, work.options.k, random_seed=work.options.random_seed)
    decay = work.decay(min(work.judged.histories))
    p = np.empty(len(work.judged))
    for i in range(work.options.k):
        fit = work.learn(f"reactivation model without fold {i + 1}", rows_of(work.judged, fold != i), decay)
        p[fold == i] = work.forecast(fit, rows_of(work.judged, fold == i), decay)
    return work.found(p)


def _loo(work: Work) -> HeldOut:
    judged = work.judged
    decay = work.decay(min(judged.histories))
    fit = work.learn("reactivation model", judged, decay)
    if fit.terms.averaged is not None:
        raise ValueError(
            f"compare: {work.name!r} averages over its many small groups, and the rows of a group are not independent "
            "then, as leave-one-out needs; use by='kfold'"
        )
    returned = judged.table[names.RETURNED].to_numpy(dtype=bool)
    elpd, khat, draws = np.empty(len(judged)), np.empty(len(judged)), 0
    for some in _blocks(judged):
        part = rows_of(judged, some)
        loglik = work.loglik(fit, part, decay)
        elpd[some], khat[some] = leave_user_out(loglik, user_numbers(part))
        draws = len(loglik)
    return work.found(np.where(returned, np.exp(elpd), -np.expm1(elpd)), khat=khat, draws=draws)


WAYS: Mapping[str, Callable[[Work], HeldOut]] = MappingProxyType({"rolling": _rolling, "kfold": _kfold, "loo": _loo})


def user_numbers(told: Snapshots) -> Integers:
    """Number of each row's user, from 0 on."""
    return np.asarray(pd.factorize(told.table[names.USER])[0], dtype=np.int64)


def _blocks(told: Snapshots) -> Iterator[NDArray[np.bool_]]:
    """Some users at a time, with all their rows."""
    number = user_numbers(told)
    for start in range(0, int(number.max()) + 1, _USERS):
        yield (number >= start) & (number < start + _USERS)
