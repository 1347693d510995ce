"""Experiments on made-up users whose outcome under every arm is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayesdecay.data.experiment import Experiment
from bayesdecay.data.experiment_table import read_experiment

ARMS = ("none", "mail", "call")


def truth(x: np.ndarray) -> np.ndarray:
    """Mean outcome under each arm (user, arm): mail helps those with a high x, call helps all a little."""
    return np.column_stack([1 + 2 * x, 1 + 2 * x + x, 1 + 2 * x + 0.3])


def trial(
    rng: np.random.Generator, n: int = 400, *, shares: tuple[float, ...] = (0.4, 0.3, 0.3), known: bool = True
) -> tuple[Experiment, np.ndarray]:
    """Draw an experiment, and the mean outcomes of its users (user, arm)."""
    x = rng.normal(size=n)
    mean = truth(x)
    given = rng.choice(3, size=n, p=shares)
    frame = pd.DataFrame({"x": x, "given": np.array(ARMS)[given], "y": mean[np.arange(n), given] + rng.normal(size=n)})
    design = dict(zip(ARMS, shares, strict=True)) if known else None
    made = read_experiment(
        frame, arm="given", control="none", outcomes=["y"], features=["x"], propensity=design and reorder(design)
    )
    return made, mean[:, [0, 2, 1]]  # the arms but the control are ordered by name


def reorder(design: dict[str, float]) -> dict[str, float]:
    """A mapping has no order that counts; shuffle it to show that."""
    return dict(reversed(design.items()))


def covers(table: pd.DataFrame | pd.Series, name: str, value: float) -> np.ndarray:
    """Whether the interval of a column holds a value."""
    return np.asarray((table[f"{name}_lower"] <= value) & (value <= table[f"{name}_upper"]))
