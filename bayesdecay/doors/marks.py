"""Marks on results of fits that did not converge, which travel with the files; there is none where all converged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa

from bayesdecay.decide.plan import Plan
from bayesdecay.model.posterior import Verdict
from bayesdecay.model.scoring import Scores

__all__ = ["CONVERGED", "failed", "marked_frame", "marked_plan", "marked_scores", "warnings_of"]

CONVERGED = "converged"  # a column that is there only where it is false, as in the summary of a fit
_VERDICT = "verdict"  # in the metadata of a Parquet file


def failed(verdicts: Mapping[str, Verdict]) -> tuple[str, ...]:
    """Names of the fits that did not converge."""
    return tuple(name for name, verdict in verdicts.items() if not verdict.converged)


def warnings_of(verdicts: Mapping[str, Verdict]) -> tuple[str, ...]:
    """Warn of the fits that did not converge, in one sentence; none where all did."""
    names = failed(verdicts)
    return (f"NOT CONVERGED: the {' and the '.join(names)}. Do not act upon these numbers.",) if names else ()


def marked_scores(scores: Scores, verdicts: Mapping[str, Verdict]) -> Scores:
    """Scores that tell each fit's verdict in their metadata, and in a column if one did not converge."""
    told = {_VERDICT: "; ".join(f"{name}: {verdict}" for name, verdict in verdicts.items())}
    table = scores.table.replace_schema_metadata({**(scores.table.schema.metadata or {}), **told})
    if failed(verdicts):
        table = table.append_column(CONVERGED, pa.array(np.zeros(len(scores), dtype=bool)))
    return replace(scores, table=table)


def marked_plan(plan: Plan, verdicts: Mapping[str, Verdict]) -> Plan:
    """Return the plan, its table marked if a fit did not converge."""
    return replace(plan, table=marked_frame(plan.table, verdicts))


def marked_frame(table: pd.DataFrame, verdicts: Mapping[str, Verdict]) -> pd.DataFrame:
    """Return the table, with a column that says so if a fit did not converge."""
    return table.assign(**{CONVERGED: False}) if failed(verdicts) else table
