"""Embeddings: few components that hold nearly all, standardised, the same for later data."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from bayesdecay.errors import DataError
from bayesdecay.model.embedding import Embedding


def table_of(scales: np.ndarray, *, rows: int = 400, random_seed: int = 1) -> pd.DataFrame:
    """Columns that are turned out of independent directions with these standard deviations."""
    rng = np.random.default_rng(random_seed)
    turn = np.linalg.qr(rng.normal(size=(scales.size, scales.size)))[0]
    values = (rng.normal(size=(rows, scales.size)) * scales) @ turn.T + rng.normal(size=scales.size)
    return pd.DataFrame(values, columns=[f"emb_{i}" for i in range(scales.size)]).assign(other=1.0)


def share_held(table: pd.DataFrame, components: int) -> float:
    """Share of the variance in the first components, by the singular values of the centred columns."""
    values = table.filter(like="emb_").to_numpy()
    size = np.linalg.svd(values - values.mean(axis=0), compute_uv=False) ** 2
    return float(size[:components].sum() / size.sum())


def test_as_few_components_as_hold_nearly_all():
    table = table_of(np.array([5.0, 3.0, 2.0, 1.0, 0.3, 0.2, 0.1]))
    made = Embedding.learn("emb_*", table)
    count = len(made.components)
    assert made.labels == tuple(f"embedding_{i + 1}" for i in range(count))
    assert made.held == pytest.approx(share_held(table, count))
    assert made.held >= 0.95 > share_held(table, count - 1)
    assert 1 < count < 7


def test_at_most_32_components():
    table = table_of(np.ones(100), rows=600)
    made = Embedding.learn("emb_*", table)
    assert len(made.components) == 32
    assert made.held == pytest.approx(share_held(table, 32))
    assert made.held < 0.95


def test_components_are_standardised_and_do_not_go_together():
    table = table_of(np.array([50.0, 3.0, 2.9, 2.8, 2.7, 0.01]))
    values = Embedding.learn("emb_*", table).standardised(table)
    np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=1e-10)
    np.testing.assert_allclose(np.cov(values, rowvar=False, ddof=0), np.eye(values.shape[1]), atol=1e-10)


def test_distances_are_kept():
    """Users who are far apart in the embedding are far apart in its components, each stretched back."""
    table = table_of(np.array([5.0, 3.0, 0.1, 0.1]))
    made = Embedding.learn("emb_*", table)
    back = made.standardised(table) / np.linalg.norm(made.components, axis=1)
    values = table.filter(like="emb_").to_numpy()
    between = np.linalg.norm(values[1:] - values[:-1], axis=1)
    np.testing.assert_allclose(np.linalg.norm(back[1:] - back[:-1], axis=1), between, rtol=0.5, atol=0.7)
    assert np.corrcoef(np.linalg.norm(back[1:] - back[:-1], axis=1), between)[0, 1] > 0.99


def test_directions_without_variance_are_left_out():
    table = table_of(np.array([2.0, 1.0]))
    made = Embedding.learn("emb_*", table.assign(emb_2=table["emb_0"] + table["emb_1"], emb_3=7.0))
    assert len(made.components) <= 2
    assert np.abs(made.components).max() < 10


def test_rows_in_which_something_is_missing():
    table = table_of(np.array([3.0, 2.0, 1.0]))
    gaps = table.copy()
    gaps.loc[[0, 7], "emb_1"] = np.nan
    made, alone = Embedding.learn("emb_*", gaps), Embedding.learn("emb_*", table.drop(index=[0, 7]))
    np.testing.assert_allclose(made.components, alone.components)
    np.testing.assert_allclose(made.center, alone.center)
    values = made.standardised(gaps)
    assert np.isnan(values[[0, 7]]).all()
    assert np.isfinite(np.delete(values, [0, 7], axis=0)).all()


def test_round_trip_and_later_data():
    table = table_of(np.array([3.0, 2.0, 1.0, 0.1]))
    made = Embedding.learn("emb_[0-9]", table)
    again = Embedding.from_dict(json.loads(json.dumps(made.to_dict())))
    assert (again.columns, again.held, again.labels) == (made.columns, made.held, made.labels)
    # Rows alone, in another order of columns, get what they have in the whole.
    later = table.iloc[[5, 2], ::-1]
    np.testing.assert_array_equal(again.standardised(later), made.standardised(table)[[5, 2]])


@pytest.mark.parametrize(
    ("pattern", "change", "error", "message"),
    [
        ("embed_*", {}, ValueError, r"unknown pattern of embedding columns 'embed_\*'"),
        ("emb_*", {"emb_1": "a"}, DataError, r"emb_1 of the embedding 'emb_\*' holds no numbers"),
        ("emb_*", {"emb_1": np.inf}, DataError, "emb_1 of the embedding is infinite in some rows"),
        ("emb_*", {"emb_1": np.nan}, DataError, r"the embedding 'emb_\*' is the same, or missing, in every row"),
        ("emb_*", {"emb_0": 0.1, "emb_1": 2.0, "emb_2": 0.3}, DataError, "is the same, or missing, in every row"),
    ],
)
def test_refused(pattern, change, error, message):
    with pytest.raises(error, match=message):
        Embedding.learn(pattern, table_of(np.array([3.0, 2.0, 1.0])).assign(**change))


def test_one_row_teaches_nothing():
    with pytest.raises(DataError, match="is the same, or missing, in every row"):
        Embedding.learn("emb_*", table_of(np.array([3.0, 2.0])).iloc[:1])


def test_later_data_is_checked():
    table = table_of(np.array([3.0, 2.0, 1.0]))
    made = Embedding.learn("emb_*", table)
    with pytest.raises(ValueError, match="unknown embedding column 'emb_1'; did you mean"):
        made.standardised(table.drop(columns="emb_1"))
    with pytest.raises(DataError, match="emb_2 of the embedding is infinite in some rows"):
        made.standardised(table.assign(emb_2=-np.inf))
