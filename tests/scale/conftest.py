"""One Spark session for the whole folder: local, two threads, a task may fail twice before the job does."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MISSING = [
    what
    for what, there in {
        "pyspark (extra 'spark')": importlib.util.find_spec("pyspark") is not None,
        "Java": shutil.which("java") is not None or "JAVA_HOME" in os.environ,
    }.items()
    if not there
]


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if MISSING:
        pytest.skip(f"Spark needs {' and '.join(MISSING)}, which is not here")
    # Workers are new processes: they must import what is tested here.
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        from pyspark.sql import SparkSession

        folder = tmp_path_factory.mktemp("spark")
        told = {
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.sql.shuffle.partitions": "3",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.warehouse.dir": str(folder),
            "spark.driver.memory": "1g",
            # Most of the time of small queries is the compiler's.
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
        }
        builder = SparkSession.builder.master("local[2,3]").appName("bayesdecay")
        for key, value in told.items():
            builder = builder.config(key, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


@pytest.fixture
def as_frame(spark: Any, tmp_path: Path) -> Callable[..., Any]:
    """Bring a table to Spark by way of Parquet, where naive times stay naive."""

    def made(table: pd.DataFrame | pa.Table) -> Any:
        arrow = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
        path = tmp_path / f"table-{len(list(tmp_path.iterdir()))}.parquet"
        pq.write_table(arrow, path, coerce_timestamps="us")
        return spark.read.parquet(str(path))

    return made
