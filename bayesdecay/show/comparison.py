"""Which settings to take: candidates judged on what they had not seen, and whether a difference is noise.

In: a log, candidates, cutoffs and a horizon. Out: :class:`Comparison`, a row a candidate with proper scores and their
standard errors, the difference to the best, stacking weights, and a verdict in plain sentences.

References
----------
Sivula, T., Magnusson, M., Matamoros, A. A. and Vehtari, A. (2025). Uncertainty in Bayesian leave-one-out
cross-validation based model comparison. *Bayesian Analysis*. https://doi.org/10.48550/arXiv.2008.10296
"""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import pandas as pd
import xarray as xr

from bayesdecay import names, units
from bayesdecay.data.events import Date, Events
from bayesdecay.errors import unknown_name
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.show.candidates import Candidate
from bayesdecay.show.comparison_words import sentences
from bayesdecay.show.held_out import WAYS, HeldOut, Work
from bayesdecay.show.question import CompareOptions, Question
from bayesdecay.show.ranking import ELPD, labelled_rows, ranking

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """Candidates side by side.

    Attributes
    ----------
    by : str
        ``"rolling"``, ``"kfold"`` or ``"loo"``.
    horizon, lapsed_after : float
        Lengths [days].
    table : DataFrame
        A row a candidate, the best first. ``log_loss`` [nats a row], ``brier``, ``auc``, ``calibration_error``, each
        with ``_se``, the standard error clustered by user; ``elpd`` [nats], which is the log loss times the rows, with
        the other sign. ``difference``: log loss above that of the best, with ``_se`` of the differences row by row;
        ``noise``: whether it is one that chance explains (so for the best itself). ``weight`` of stacking. These are
        missing for a candidate that may not be best. By leave-one-out ``khat``, the worst, and ``bad_khat``, the
        number of users above :func:`bayesdecay.model.leave_out.good_k`. ``converged``, ``verdict``; ``seconds`` of
        its fits, those it shares with others included.
    rows : Dataset
        ``p_reactivation`` and ``elpd`` [nats] (candidate, row), made without the row; ``user``, ``at``, ``returned``
        (row).
    left_out : int
        Rows that not all candidates have, since they count activity in different units.
    allow_unconverged : bool
        Whether a candidate may be the best although a fit of it did not converge.
    """

    by: str
    horizon: float
    lapsed_after: float
    table: pd.DataFrame
    rows: xr.Dataset
    left_out: int = 0
    allow_unconverged: bool = False

    @property
    def best(self) -> str | None:
        """Name of the candidate with the smallest log loss of those that may be best; None if none may."""
        return None if self.table["difference"].isna().all() else str(self.table["difference"].idxmin())

    @property
    def tied(self) -> tuple[str, ...]:
        """Names of the other candidates that chance alone may have put behind the best."""
        return tuple(name for name in self.table.index[self.table["noise"]] if name != self.best)

    @property
    def by_cutoff(self) -> pd.DataFrame:
        """Log loss [nats a row] of each candidate at each cutoff: whether the best is so every time."""
        loss = (-self.rows[ELPD]).groupby(names.AT).mean()
        return loss.to_pandas().loc[self.table.index]

    @property
    def verdict(self) -> tuple[str, ...]:
        """What the figures say, in plain sentences."""
        return sentences(self)

    def __str__(self) -> str:
        """Say the verdict."""
        return "\n".join(self.verdict)

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in self.verdict)
        return f"<ul>{said}</ul>{self.table.to_html(float_format='{:,.4f}'.format)}"


def compare(
    log: Events,
    candidates: Mapping[str, Candidate],
    *,
    cutoffs: Date | Iterable[Date],
    horizon: units.Duration,
    by: str = "rolling",
    options: CompareOptions | None = None,
) -> Comparison:
    """Judge candidates on outcomes that they had not seen.

    Parameters
    ----------
    log : Events
        What :func:`bayesdecay.read_events` gives.
    candidates : mapping of str to Candidate
        By name, such as :func:`bayesdecay.default_candidates` makes them.
    cutoffs : one or several dates
        At which lapsed users are looked at; the log must go on for a horizon after each.
    horizon : duration
        Within which a user returns or not.
    by : {"rolling", "kfold", "loo"}
        ``"rolling"``: a forecast from each cutoff by models that saw nothing after it, as they would be used.
        ``"kfold"``: users in folds, each forecast by a model that learned from the others' outcomes at the same
        cutoffs. ``"loo"``: one fit, each user left out by importance sampling; the quickest.
    options : CompareOptions, optional
        Who counts as lapsed, folds, sampling, seed, progress.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If there is no candidate, ``by`` is unknown, or a candidate cannot be judged by leave-one-out.
    LeakageError
        If a horizon reaches beyond the log.
    DataError
        If the log does not hold what is asked, or candidates disagree on who had lapsed.

    Notes
    -----
    A return is any event within the horizon, whatever the candidate's unit of activity, so the rows of all candidates
    are comparable. The scores' standard errors are about other users of the same shop at the same cutoffs; that other
    times may favour another candidate shows, if at all, in :attr:`Comparison.by_cutoff`. With ``"kfold"`` and
    ``"loo"`` the decay model is fitted to all users as they stood at the earliest cutoff; it sees no outcome.

    Examples
    --------
    >>> log = read_events(load_cdnow(sample=True))  # doctest: +SKIP
    >>> print(compare(log, default_candidates(), cutoffs="1997-09-30", horizon="90d"))  # doctest: +SKIP
    """
    told = options or CompareOptions()
    if by not in WAYS:
        raise unknown_name("way to compare", by, WAYS)
    _refuse(candidates, by)
    instants = cutoffs if isinstance(cutoffs, str | dt.date) else tuple(cutoffs)
    (length,) = units.durations(horizon).values()
    question = Question(log=log, cutoffs=instants, horizon=length, options=told)
    judged, left_out = question.judged(candidates)
    if by == "rolling":  # a cutoff that comes too early is told before anything is sampled
        for name, candidate in candidates.items():
            for at in judged[name].histories:
                question.past_cutoffs(candidate, at)
    found: dict[str, HeldOut] = {}
    decays: dict[Hashable, tuple[DecayFit, float]] = {}
    for name, candidate in candidates.items():
        work = Work(question=question, name=name, candidate=candidate, judged=judged[name], decays=decays)
        found[name] = WAYS[by](work)
    rows = labelled_rows(found, next(iter(judged.values())))
    return Comparison(
        by=by,
        horizon=length,
        lapsed_after=units.days(told.lapsed_after or 0),
        table=ranking(found, rows, allow_unconverged=told.allow_unconverged),
        rows=rows,
        left_out=left_out,
        allow_unconverged=told.allow_unconverged,
    )


def _refuse(candidates: Mapping[str, Candidate], by: str) -> None:
    """Refuse what would otherwise be found out after an hour."""
    if not candidates:
        raise ValueError("compare: there is no candidate; take default_candidates() to begin with")
    for name, candidate in candidates.items():
        if not isinstance(candidate, Candidate):
            raise TypeError(f"compare: {name!r} is not a Candidate but {type(candidate).__name__}")
        grouped = {bracket.group for bracket in candidate.reactivation.parsed().brackets}
        if by == "loo" and names.USER in grouped:
            raise ValueError(
                f"compare: {name!r} has intercepts of single users (1 | user), which leave-one-out cannot judge; use "
                "by='kfold'"
            )
