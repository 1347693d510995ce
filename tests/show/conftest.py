"""One shop for all tests of this folder."""

from __future__ import annotations

import pytest

from tests.show import made


@pytest.fixture(scope="session")
def shop():
    return made.shop(1_500)


@pytest.fixture(scope="session")
def history(shop):
    return shop[1]


@pytest.fixture(scope="session")
def truth(history):
    """Population of a fit that knows the truth."""
    return made.fit(history).population(200)
