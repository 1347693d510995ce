"""Whom an effect is learned from or told of: rows with features, the users' ids, and their interest where it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay import names
from bayesdecay.data.experiment import Experiment
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.latent_interest import KnownInterest, log_interest_draws
from bayesdecay.model.population import Population
from bayesdecay.model.uncertainty import DrawOptions

__all__ = ["Users", "ids_of", "interest_of", "table_of"]

Floats = NDArray[np.float64]
type Users = Experiment | Snapshots | pd.DataFrame


def table_of(users: Users) -> pd.DataFrame:
    """Rows of some users, with their features."""
    return users if isinstance(users, pd.DataFrame) else users.table


def ids_of(users: Users) -> NDArray[Any]:
    """Ids of some users, in order."""
    table = table_of(users)
    return np.asarray(table.get(names.USER, table.index))


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentInterest:
    """The interest of some users: their histories, and a decay fit."""

    snapshots: Snapshots
    decay: DecayFit

    def known(self) -> KnownInterest:
        """What is known of each row's log interest, to learn from."""
        return KnownInterest.of(self.decay.population(), self.snapshots)

    def draws(self, population: Population, told: DrawOptions) -> Floats:
        """Draws (row, sample) of each row's log interest, given draws of the population."""
        return log_interest_draws(population, self.snapshots.histories.values(), told.random_seed)


def interest_of(users: Users, decay: DecayFit | None) -> LatentInterest:
    """Take the interest of some users.

    Raises
    ------
    ValueError
        If the decay fit or the users' histories are not given.
    """
    snapshots = users.snapshots if isinstance(users, Experiment) else users
    if decay is None or not isinstance(snapshots, Snapshots):
        raise ValueError(
            "interest is in the formula: give the decay fit, and users with their histories, which snapshots have"
        )
    return LatentInterest(snapshots=snapshots, decay=decay)
