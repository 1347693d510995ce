"""Scores on Apache Spark: the local scoring function, run where the rows of the history are.

In: a population and a :class:`~bayesdecay.data.scale.spark_history.SparkHistory`. Out: a Spark frame with the columns
of :class:`~bayesdecay.model.scores.Scores`; no row visits the driver. The workers need bayesdecay too.

A user's scores follow from its row, the seed and the population alone (:mod:`bayesdecay.model.streams`): a partition
that is computed again, on whatever machine, gives the same scores.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from bayesdecay import names
from bayesdecay.data.history import History
from bayesdecay.data.scale.dialects import DIALECTS
from bayesdecay.data.scale.spark_history import SparkHistory
from bayesdecay.data.sql import plain
from bayesdecay.model.population import Population
from bayesdecay.model.scores import ScoreOptions
from bayesdecay.model.scoring import score_blocks

__all__ = ["score_on_spark"]

type _Batches = Iterator[pa.RecordBatch]


def score_on_spark(population: Population, history: SparkHistory, options: ScoreOptions) -> Any:
    """Score every user of a history on Spark.

    Returns
    -------
    pyspark.sql.DataFrame
        Not computed before it is used or written. Without a ``random_seed`` one is drawn here, once.
    """
    if options.random_seed is None:
        options = replace(options, random_seed=int(np.random.default_rng().integers(2**63)))
    nobody = history.described(history.frame.limit(0).toArrow())
    columns = next(score_blocks(population, nobody, options)).schema.names
    kinds = dict.fromkeys(columns, "double") | {names.USER: dict(history.frame.dtypes)[names.USER]}
    schema = ", ".join(f"{DIALECTS['spark'].identifier(name)} {kind}" for name, kind in kinds.items())
    with warnings.catch_warnings():
        # pandas is asked for by Spark, and not used by this operation.
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        return history.frame.mapInArrow(_scorer(population, nobody, options), schema)


def _scorer(population: Population, nobody: History, options: ScoreOptions) -> Callable[[_Batches], _Batches]:
    """Make the function that goes to the workers; ``nobody`` is an empty history that tells what the rows are."""

    def scores(batches: _Batches) -> _Batches:
        for batch in batches:
            if batch.num_rows:
                # The cores are Spark's to share out.
                some = nobody.over(plain(pa.Table.from_batches([batch])))
                yield from score_blocks(population, some, options, threads=1)

    return scores
