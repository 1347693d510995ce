"""The few fits by NUTS that the tests share: each is made once, whichever of several processes asks first."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

from bayesdecay.data.history import History
from bayesdecay.data.simulate import Simulation
from bayesdecay.data.truth import Population as Truth
from bayesdecay.model.decay import DecayFit, DecayModel
from bayesdecay.model.posterior import read_tree, write_tree
from bayesdecay.model.reference import ReferenceFit, ReferenceModel
from bayesdecay.model.sampling import Sampling
from tests.model.worlds import RATES, history_of, simulated

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
