"""An executor is killed while it scores: its stage and the shuffle it held are run again, and nothing changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scale.conftest import MISSING


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="executors are found by /proc, which is Linux's")
@pytest.mark.skipif(bool(MISSING), reason=f"Spark needs {' and '.join(MISSING)}, which is not here")
def test_a_lost_executor_changes_nothing(tmp_path):
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "PYSPARK_PYTHON": sys.executable}
    command = [sys.executable, Path(__file__).with_name("lost_executor.py"), tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert json.loads(done.stdout.strip().splitlines()[-1]) == {"killed": True, "users": 300, "apart": 0.0}
    assert "Lost executor" in done.stderr
