"""How an explanation is to be read: what the sizes are measured against, and what a visit today stands for."""

from __future__ import annotations

from bayesdecay import names
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.show.scene import columns_by_label
from bayesdecay.show.words import level, listed, window

__all__ = ["reading_notes"]


def reading_notes(fit: ReactivationFit, now: Snapshots, then: Snapshots, ci_prob: float) -> tuple[str, ...]:
    """Say in sentences how the parts and the visit of an explanation are to be read.

    Parameters
    ----------
    now, then : Snapshots
        The users as they are, and had they been active once more.
    ci_prob : float
        Probability of the intervals.
    """
    follows, stays = _moved(fit, now, then)
    sizes = (
        f"Sizes are log-odds with {level(ci_prob)} intervals, measured against a user who is average, over the data of "
        "the fit, in everything that the model looks at. With where that user stands they sum to the logit of P."
    )
    left = f"; {_said(stays, 'stays as it is', 'stay as they are')}" if stays else ""
    told = _said(follows, "follows", "follow")
    visit = (
        "“With one visit today” compares two states as the model sees them: this user, and one with the same past and "
        f"one more activity at the cutoff. {told[0].upper()}{told[1:]}{left}. It is not the "
        "effect of making somebody visit."
    )
    silence = float(fit.description.get("lapsed_after", 0.0))
    if not follows or silence == 0:
        return sizes, visit
    beyond = (
        f"Everybody in the data of the fit had been silent for {window(silence)} or longer: what is said of a visit "
        "today goes beyond what the model has seen."
    )
    return sizes, visit, beyond


def _moved(fit: ReactivationFit, now: Snapshots, then: Snapshots) -> tuple[list[str], list[str]]:
    """What the model looks at and a visit changes, and what it leaves."""
    terms = fit.terms
    used = list(dict.fromkeys(name for columns in columns_by_label(terms).values() for name in sorted(columns)))
    changed = [name for name in used if name in now.features and not now.table[name].equals(then.table[name])]
    left = [name for name in used if name not in changed] + [one.group for one in terms.pooled]
    left += ["the embedding"] if terms.embedding else []
    return [*([names.INTEREST] if terms.formula.interest else []), *changed], left


def _said(things: list[str], one: str, several: str) -> str:
    """Say what some things do."""
    return f"{listed(things) or 'nothing'} {several if len(things) > 1 else one}"
