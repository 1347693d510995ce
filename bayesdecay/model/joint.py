r"""The joint form: users' interests and the coefficients of their return as variables of one model.

In: all users' histories at a cutoff, and the lapsed ones' snapshots there. Out: a PyMC model, the reference model's
variables among its own. Where the marginal way hands a user's interest on as 8 slices of its posterior, here what
became of the user after the cutoff says something about the interest too. It is for small data, and to see what the
slices cost.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayesdecay import curves, names
from bayesdecay.data.history import History
from bayesdecay.data.ids import positions
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.errors import DataError
from bayesdecay.model import logit_graph
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.grid import INSTANTS
from bayesdecay.model.interest_slices import log_left
from bayesdecay.model.logit_graph import Outcome
from bayesdecay.model.matrices import Design
from bayesdecay.model.prior import REACTIVATION_PRIORS, Prior, with_changes
from bayesdecay.model.reference import ReferenceModel
from bayesdecay.model.terms import Terms

if TYPE_CHECKING:
    from bayesdecay.model.reactivation import ReactivationModel

__all__ = ["build_joint"]


def build_joint(
    model: ReactivationModel,
    terms: Terms,
    design: Design,
    snapshots: Snapshots,
    decay: DecayFit,
    history: History | None,
) -> pm.Model:
    """Build the joint model; samples nothing.

    Raises
    ------
    DataError
        If the history is of other users, or of another cutoff, than the snapshots.
    ValueError
        If there are several cutoffs, no history, more than 5,000 users, a bracket over users, or a fit with regulars.
    """
    if history is None:
        raise ValueError("interest='joint' samples the interests of all users too; give their history=, at the cutoff")
    if len(snapshots.histories) != 1:
        raise ValueError(f"interest='joint' takes snapshots at one cutoff, got {len(snapshots.histories)}")
    (at, _), ids = next(iter(snapshots.histories.items())), history.table[names.USER]
    row = positions(next(iter(snapshots.histories.values())).table[names.USER], ids)
    if at != history.at or (row < 0).any():
        raise DataError(
            f"history: at {history.at} with {len(history):,} users; interest='joint' needs all users of the snapshots "
            f"at their cutoff {at}: summarize the log at that cutoff"
        )
    told = json.loads(decay.idata.attrs["model"])
    if told.get("regulars"):
        raise ValueError(
            "interest='joint' knows one kind of users, and some of this fit never fade; give it a decay fit without "
            "regulars, DecayModel(regulars=False).fit(...)"
        )
    reference = ReferenceModel(
        restoration=told["restoration"],
        coupling=told["coupling"],
        priors={name: Prior(**prior) for name, prior in told["priors"].items() if name != "shoulder"},
        clock=told.get("clock", INSTANTS),
        shoulder=told.get("shoulder"),
    ).build(history)
    outcome = Outcome(
        returned=snapshots.table[names.RETURNED].to_numpy(dtype=bool), weight=np.ones(len(snapshots.table))
    )
    (block,) = history.blocks(len(history))
    labels = logit_graph.coords(terms)
    if taken := sorted(labels.keys() & reference.coords.keys()):
        raise ValueError(
            f"interest='joint' has a dimension {taken[0]!r} of its own; take (... | {taken[0]}) out of the formula "
            "(at one cutoff each user has one row), or rename the group's column"
        )
    with reference:
        reference.add_coords(labels)
        priors = with_changes(REACTIVATION_PRIORS, model.priors)
        found = logit_graph.linear(terms, design, priors, outcome, model.sparse(terms))
        age = curves.effective_age(block.T[row], block.last[row], reference["rho"])
        rate = reference["rate"][row]
        first = pt.log(reference["initial_interest"])[row]
        log_interest = first + log_left(
            rate, age, told.get("clock", INSTANTS), told.get("shoulder") or curves.EXPONENTIAL, xp=pt
        )
        level = (log_interest - terms.interest_center) / terms.interest_scale
        logit_graph.add_loglik_at(found, terms, design, outcome, level)
    return reference
