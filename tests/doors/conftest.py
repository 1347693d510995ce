"""One small shop, and the one `bayesdecay run` on it that the tests of this folder share."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from bayesdecay.data.simulate import simulate
from bayesdecay.data.truth import Population
from bayesdecay.doors.cli import app

AT, LAPSED, HORIZONS = "2024-07-15", "21d", ("14d", "30d")
SEED = 1
_PATIENCE = 300  # seconds to wait for the process that runs it


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


def bayesdecay(*words: object) -> Done:
    """Run the command line in this process, as the installed script does."""
    tokens, out, err = [str(word) for word in words], io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["bayesdecay", *tokens])  # the report names the command
        patch.setenv("COLUMNS", "160")
        with pytest.raises(SystemExit) as left:
            app(tokens)
    return Done(code=int(left.value.code or 0), out=out.getvalue(), err=err.getvalue())


def files(folder: Path) -> set[str]:
    """Everything in a folder, by its path in it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A log on disk, what is in it, and the results of the run."""

    log: Path
    events: pd.DataFrame
    out: Path
    printed: str

    @property
    def columns(self) -> tuple[str, ...]:
        return ("--user", "customer", "--time", "ordered_at")

    @property
    def counting(self) -> tuple[object, ...]:
        """The words that most commands need."""
        return (self.log, *self.columns, "--at", AT)


def _events() -> pd.DataFrame:
    truth = Population(half_life=25, half_life_spread=0.8, interest=0.3, interest_shape=1.2, restoration=0.6)
    drawn = simulate(400, population=truth, observed="240d", random_seed=5).events
    # Leading zeros, commas and quotation marks: what a careless writer of CSV would lose.
    names = [f'{user:04d}, "Jo"' for user in drawn["user"]]
    return pd.DataFrame({"customer": names, "ordered_at": drawn["time"]})


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Shop:
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "shop"
    made, printed = folder / "results", folder / "printed.txt"
    events = _events()
    try:
        folder.mkdir()
    except FileExistsError:
        until = time.monotonic() + _PATIENCE
        while not printed.exists():
            if time.monotonic() > until:
                pytest.fail("the process that was to run the job did not")
            time.sleep(0.2)
    else:
        events.to_parquet(folder / "log.parquet")
        done = _run(folder / "log.parquet", made)
        (folder / ".part").write_text(f"{done.code}\n{done.out}\n{done.err}", encoding="utf-8")
        (folder / ".part").replace(printed)
    return Shop(log=folder / "log.parquet", events=events, out=made, printed=printed.read_text(encoding="utf-8"))


def _run(log: Path, out: Path) -> Done:
    columns = ("--user", "customer", "--time", "ordered_at", "--at", AT, "--lapsed-after", LAPSED)
    campaign = ("--cost", 0.5, "--value", 20, "--effect", "normal(0.4, 0.1)", "--budget", 30)
    # With 500 draws R-hat is off by chance as often as not: its noise alone reaches 1.01.
    sampling = ("--draws", 1000, "--tune", 500, "--chains", 2, "--random-seed", SEED)
    return bayesdecay("run", log, *columns, "--horizon", ",".join(HORIZONS), *campaign, *sampling, "--out", out)
