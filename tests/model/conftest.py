"""The few fits by NUTS that the tests share: each is made once, whichever of several processes asks first."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

from bayesdecay.data.events import Events, read_events
from bayesdecay.data.history import History
from bayesdecay.data.simulate import Simulation
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.data.truth import Population as Truth
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.posterior import read_tree, write_tree
from bayesdecay.model.reactivation import ReactivationModel
from bayesdecay.model.reference import ReferenceFit, ReferenceModel
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.model.sampling import Sampling
from tests.model.worlds import NOW, PAST, RATES, RETURNING_SAMPLING, history_of, looked_at, simulated, with_outcomes

# Twelve groups of users, from those who fade in ten days to those who take forty.
CHANNELS = tuple(f"channel {letter}" for letter in "abcdefghijkl")
GROUPED = Truth(
    half_life={channel: 10.0 * 4.0 ** (i / 11) for i, channel in enumerate(CHANNELS)},
    half_life_spread=0.7,
    interest={channel: 0.2 + 0.1 * (i % 3) for i, channel in enumerate(CHANNELS)},
    interest_shape=1.5,
    coupling=0.3,
    restoration=0.5,
    covariates={"age": (0.4, -0.3)},
)
_PATIENCE = 300  # seconds to wait for the process that is fitting


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable:
    """Make a tree, or read what another process of this run has made."""
    shared = hasattr(request.config, "workerinput")
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if shared else base

    def made(name: str, make: Callable[[], xr.DataTree]) -> xr.DataTree:
        path, claim = folder / f"{name}.nc", folder / f"{name}.claim"
        try:
            claim.mkdir()
        except FileExistsError:
            return _awaited(path, claim)
        try:
            return write_and_read(make(), path)
        except BaseException:
            (claim / "failed").touch()
            raise

    return made


def write_and_read(tree: xr.DataTree, path: Path) -> xr.DataTree:
    return read_tree(write_tree(tree, path))


def _awaited(path: Path, claim: Path) -> xr.DataTree:
    until = time.monotonic() + _PATIENCE
    while not path.exists():
        if (claim / "failed").exists() or time.monotonic() > until:
            pytest.fail(f"the process that was to make {path.name} did not")
        time.sleep(0.2)
    return read_tree(path)


@pytest.fixture(scope="session")
def drawn() -> Simulation:
    """A shop of 600 users."""
    return simulated(600, random_seed=3)


@pytest.fixture(scope="session")
def history(drawn: Simulation) -> History:
    return history_of(drawn)


@pytest.fixture(scope="session")
def fit(history: History, made_once: Callable) -> DecayFit:
    """The decay model on the shop of 600 users."""
    sampling = Sampling(draws=700, tune=400, chains=2)
    return DecayFit(
        idata=made_once("decay", lambda: DecayModel(rates=RATES).fit(history, sampling=sampling, random_seed=1).idata)
    )


@pytest.fixture(scope="session")
def log(drawn: Simulation) -> Events:
    return read_events(drawn.events)


@pytest.fixture(scope="session")
def past(log: Events) -> Snapshots:
    """Lapsed users of that shop at two cutoffs, with what became of them."""
    return looked_at(log, PAST)


@pytest.fixture(scope="session")
def now(log: Events) -> Snapshots:
    """Those to be scored."""
    return looked_at(log, NOW, observed_until=NOW)


@pytest.fixture(scope="session")
def returning(past: Snapshots, fit: DecayFit, made_once: Callable) -> ReactivationFit:
    """The reactivation model as it comes, on the shop of 600 users."""
    model = ReactivationModel()
    tree = made_once("returning", lambda: model.fit(past, fit, sampling=RETURNING_SAMPLING, random_seed=1).idata)
    return ReactivationFit(idata=tree)


@pytest.fixture(scope="session")
def made_up(log: Events, fit: DecayFit) -> Snapshots:
    """Snapshots of five cutoffs with outcomes by the model's own law."""
    cutoffs = ["2024-02-29", "2024-03-20", "2024-04-10", "2024-04-30", "2024-05-20"]
    return with_outcomes(looked_at(log, cutoffs), fit)


@pytest.fixture(scope="session")
def grouped_returning(made_up: Snapshots, fit: DecayFit, made_once: Callable) -> ReactivationFit:
    """Two brackets, and a feature that is missing in some rows."""
    formula = "returned ~ interest + visits + spend + (1 + log1p(recency) | segment) + (1 | region)"
    sampling = Sampling(draws=1_500, tune=600, chains=2)
    model = ReactivationModel(formula=formula)
    tree = made_once("grouped_returning", lambda: model.fit(made_up, fit, sampling=sampling, random_seed=2).idata)
    return ReactivationFit(idata=tree)


@pytest.fixture(scope="session")
def few() -> History:
    """200 users, few enough for the reference model."""
    return history_of(simulated(200, random_seed=8))


@pytest.fixture(scope="session")
def few_marginal(few: History, made_once: Callable) -> DecayFit:
    sampling = Sampling(draws=1_000, tune=400, chains=2)
    return DecayFit(
        idata=made_once(
            "few_marginal", lambda: DecayModel(rates=RATES).fit(few, sampling=sampling, random_seed=2).idata
        )
    )


@pytest.fixture(scope="session")
def few_reference(few: History, made_once: Callable) -> ReferenceFit:
    sampling = Sampling(draws=1_200, tune=600, chains=2)
    return ReferenceFit(
        idata=made_once("few_reference", lambda: ReferenceModel().fit(few, sampling=sampling, random_seed=3).idata)
    )


@pytest.fixture(scope="session")
def grouped() -> History:
    """480 users of twelve groups, with a covariate."""
    return history_of(simulated(480, shop=GROUPED, random_seed=5), group="group", covariates=["age"])


@pytest.fixture(scope="session")
def grouped_fit(grouped: History, made_once: Callable) -> DecayFit:
    sampling = Sampling(draws=1_000, tune=500, chains=2)
    return DecayFit(
        idata=made_once("grouped", lambda: DecayModel(rates=RATES).fit(grouped, sampling=sampling, random_seed=4).idata)
    )
