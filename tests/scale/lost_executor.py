"""Two executors in processes of their own, one killed while it scores: run by test_lost_executor.py.

python tests/scale/lost_executor.py FOLDER
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.model.scores import ScoreOptions
from bayesdecay.model.scoring import score
from bayesdecay.model.spark_scoring import score_on_spark
from tests.model.worlds import SHOP, population_at, simulated


def main(folder: Path) -> None:
    """Score on the cluster and here, and tell how far the two are apart."""
    from pyspark.sql import SparkSession

    told = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executorEnv.PYTHONPATH": os.environ["PYTHONPATH"],
    }
    builder = SparkSession.builder.master("local-cluster[2,1,1024]")
    for key, value in told.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    warnings.simplefilter("ignore")

    events = simulated(300, random_seed=3).events
    events.to_parquet(folder / "events.parquet", coerce_timestamps="us")
    log = read_events(str(folder / "events.parquet"), engine="spark")
    history = summarize(log, at="2024-05-01", activity="event")
    killed = folder / "killed"

    def killing(batches):
        from pyspark import TaskContext

        yield from batches
        if TaskContext.get().partitionId() == 0 and not killed.exists():
            killed.touch()
            process = os.getppid()
            while b"CoarseGrainedExecutorBackend" not in Path(f"/proc/{process}/cmdline").read_bytes():
                lines = Path(f"/proc/{process}/status").read_text().splitlines()
                process = int(next(line for line in lines if line.startswith("PPid")).split()[1])
            os.kill(process, signal.SIGKILL)
            time.sleep(60)  # it takes this worker with it

    rows = history.frame.mapInArrow(killing, history.frame.schema)
    population, options = population_at(SHOP, draws=40), ScoreOptions(random_seed=5)
    there = score_on_spark(population, replace(history, frame=rows), options).toArrow().sort_by("user").to_pandas()
    here = score(population, summarize(read_events(events), at="2024-05-01", activity="event"), options).to_pandas()
    apart = float(np.abs(there.to_numpy(dtype=float) - here.to_numpy(dtype=float)).max())
    session.stop()
    print(json.dumps({"killed": killed.exists(), "users": len(there), "apart": apart}))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
