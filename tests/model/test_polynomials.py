"""Polynomials of the restoration against the grid's own interpolation, for numbers of nodes known beforehand or not."""

from __future__ import annotations

import numpy as np
import pytest

from bayesdecay.model.grid import Grid, chebyshev_nodes
from bayesdecay.model.polynomials import coefficients, mix, polynomial, powers_at

MANY = (40, 128)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 7, 10])
def test_value_and_slope_are_those_of_the_grids_interpolation(count):
    low, high = 0.3, 0.6
    nodes = chebyshev_nodes(low, high, count) if count > 1 else np.array([low])
    grid = Grid(rates=np.array([1.0, 2.0, 4.0]), restorations=nodes)
    values = np.random.default_rng(1).normal(size=(count, *MANY))
    near, at, slope_at = powers_at(0.4567, nodes, count)
    assert near == pytest.approx(0.4567, abs=1e-4)
    expected = np.tensordot(grid.interpolation(near), values, axes=1)
    step = 1e-5
    ahead, behind = (np.tensordot(grid.interpolation(near + d), values, axes=1) for d in (step, -step))
    powers = np.tensordot(coefficients(count), values, axes=1)
    found, slope = np.empty(MANY, np.float32), np.empty(MANY, np.float32)
    mix(at.astype(np.float32), slope_at.astype(np.float32), powers.astype(np.float32), found, slope)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-4, atol=2e-3)
    one = polynomial(at, slope_at, np.ascontiguousarray(powers[:, 3, 5]))
    assert one == pytest.approx((expected[3, 5], (ahead - behind)[3, 5] / (2 * step)), rel=1e-6, abs=1e-6)
