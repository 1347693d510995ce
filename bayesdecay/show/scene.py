"""Users as the reactivation model sees them, held so that they can be looked at again with something changed.

In: a fit, snapshots, a decay fit. Out: :class:`Scene`, whose draws of P are those of ``ReactivationFit.draws`` with the
same seed, and stay paired, draw for draw, when a feature is moved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import formulaic
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.coefficients import Coefficients
from bayesdecay.model.columns import Columns
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.expression import columns_of, read_terms
from bayesdecay.model.interest_slices import log_expected_interest
from bayesdecay.model.latent_interest import log_interest_draws
from bayesdecay.model.matrices import Design
from bayesdecay.model.paired import paired
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.model.terms import Terms
from bayesdecay.model.uncertainty import DrawOptions

__all__ = ["Scene", "columns_by_label", "columns_by_term"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """Some users at one cutoff: the coefficients' draws, the users' features, and draws of their interest.

    ``log_interest`` (row, sample), or (row, 1) where the fit takes interest as known.
    """

    coefficients: Coefficients
    table: pd.DataFrame
    log_interest: Floats
    design: Design
    seed: int

    @classmethod
    def of(cls, fit: ReactivationFit, snapshots: Snapshots, decay: DecayFit, told: DrawOptions) -> Scene:
        """Look at the users of snapshots.

        Raises
        ------
        ValueError
            If the snapshots have several cutoffs.
        NotConvergedError
            If a fit did not converge and this is not allowed.
        """
        if len(snapshots.histories) != 1:
            raise ValueError(f"expected snapshots at one cutoff, got {len(snapshots.histories)}")
        fit.verdict.require(allow_unconverged=told.allow_unconverged)
        seed = int(np.random.default_rng().integers(2**63)) if told.random_seed is None else told.random_seed
        terms, histories, allowed = fit.terms, snapshots.histories.values(), told.allow_unconverged
        coefficients, population = paired(fit.idata, terms, decay, told.draws, allow_unconverged=allowed)
        if fit.description["interest"] == "plugin":
            log_interest = log_expected_interest(population, histories)
        else:
            log_interest = log_interest_draws(population, histories, seed)
        return cls(
            coefficients=coefficients,
            table=snapshots.table,
            log_interest=log_interest,
            design=terms.design(snapshots.table, log_interest),
            seed=seed,
        )

    @property
    def terms(self) -> Terms:
        """The formula, with what it learned from the data of the fit."""
        return self.coefficients.terms

    def rows(self, places: NDArray[np.int64]) -> Scene:
        """Keep some users."""
        return replace(
            self,
            table=self.table.iloc[places].reset_index(drop=True),
            log_interest=self.log_interest[places],
            design=self.design.rows(places),
        )

    def parts(self) -> dict[str, Floats]:
        """Parts (row, sample) of the users' logits, by name; see ``ReactivationFit.logit_parts``."""
        return self.coefficients.parts(self.design, np.random.default_rng(self.seed))

    def p(self, design: Design | None = None) -> Floats:
        """Draws (row, sample) of the users' P, or of what it would be with another design."""
        return np.asarray(expit(self.coefficients.logit(design or self.design, np.random.default_rng(self.seed))))

    def with_feature(self, column: str, values: Any) -> Design:
        """Give a column of the table other values; all terms that use it move, and nothing else does."""
        moved = self.terms.design(self.table.assign(**{column: values}), self.log_interest)
        uses = np.array([column in used for used in columns_by_label(self.terms).values()], dtype=bool)
        # What stands for another feature that is missing would follow, as if this one were a sign of it.
        return replace(moved, x=np.where(uses, moved.x, self.design.x))

    def with_log_interest(self, log_interest: Floats) -> Design:
        """Give the users another log interest, (row, sample) or (row, 1)."""
        level = (log_interest - self.terms.interest_center) / self.terms.interest_scale
        return replace(self.design, level=np.ascontiguousarray(level))


def columns_by_term(columns: Columns) -> dict[str, frozenset[str]]:
    """Columns of the table that each term uses."""
    if not columns.terms:
        return {}
    return {str(term): frozenset(columns_of(formulaic.Formula([term]))) for term in read_terms(columns.terms)}


def columns_by_label(terms: Terms) -> dict[str, frozenset[str]]:
    """Columns of the table that each feature of a design uses, in the design's order; none of an embedding's."""
    found: dict[str, frozenset[str]] = dict.fromkeys(terms.labels, frozenset())
    for columns in (terms.fixed, *(one.columns for one in terms.pooled)):
        by_term = columns_by_term(columns)
        found |= {label: by_term[term] for label, term in zip(columns.labels, columns.term_of, strict=True)}
    return found
