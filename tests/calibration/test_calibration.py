"""The small form of the calibration study: its machinery finds what is wrong, and the decay model is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pytensor.compile.maker import function as pytensor_function

from bayesdecay.errors import DataError
from bayesdecay.model.density import Density
from bayesdecay.model.whitening import Whitening
from tests.calibration.compiled import compiled_once
from tests.calibration.coupon import replicate as coupon_replicate
from tests.calibration.decay import replicate as decay_replicate
from tests.calibration.judged import Judged, coverage_table, judged, pooled_coverage
from tests.calibration.report import write_report
from tests.calibration.study import LEVELS, Replicate, Study, extend, ranked, ranked_counts, read_records, record_of

REPLICATES = 400
SEEN = 5
WHITENED = Whitening.whitened


def conjugate(*, shift: float = 0.0, stretch: float = 1.0) -> Callable[[int], Replicate]:
    """Mean of normal values with a normal prior, whose posterior is known; moved and stretched to be wrong."""

    def replicate(seed: int) -> Replicate:
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=3)
        mean = (truth[:, None] + rng.normal(size=(3, SEEN))).sum(axis=1) / (SEEN + 1)
        sd = 1 / np.sqrt(SEEN + 1)
        draws = mean[:, None] + sd * (shift + stretch * rng.normal(size=(3, 400)))
        return Replicate(quantities={"mean": ranked(truth, draws, rng)}, faults=("toy: odd",) if seed % 50 == 0 else ())

    return replicate


def toy(replicate: Callable[[int], Replicate]) -> Study:
    return Study(name="toy", title="A toy", about="Normal, with a normal prior.", replicate=replicate)


def made(replicate: Callable[[int], Replicate]) -> Judged:
    return judged(record_of(toy(replicate), seed) for seed in range(1, REPLICATES + 1))


def test_a_right_posterior_is_found_right():
    found = made(conjugate())
    (row,) = coverage_table(found).to_dict("records")
    assert (row["replicates"], row["values"]) == (REPLICATES, 3 * REPLICATES)
    for level in LEVELS:
        assert row[f"{level:.0%}"] == pytest.approx(level, abs=3.5 * row[f"{level:.0%} se"])
    # Here the three units know nothing of each other, so the error is that of independent values.
    assert row["90% se"] == pytest.approx(np.sqrt(0.09 / row["values"]), rel=0.15)
    assert row["p_value"] > 0.01
    assert found.faults == {"toy": REPLICATES // 50}
    assert coverage_table(found, converged_only=True)["replicates"].item() == REPLICATES - REPLICATES // 50


@pytest.mark.parametrize(
    ("wrong", "coverage"),
    # Of the intervals' 1.645 sd: P(|Z| < 0.8 x 1.645), P(|Z| < 1.4 x 1.645), P(-1.645 < Z - 0.5 < 1.645).
    [({"stretch": 0.8}, 0.812), ({"stretch": 1.4}, 0.979), ({"shift": 0.5}, 0.858)],
)
def test_a_wrong_posterior_is_refused(wrong, coverage):
    (row,) = coverage_table(made(conjugate(**wrong))).to_dict("records")
    assert row["p_value"] < 1e-3
    assert row["90%"] == pytest.approx(coverage, abs=4 * row["90% se"])
    assert abs(row["90%"] - 0.9) > 3 * row["90% se"]


def test_p_value_is_uniform_for_uniform_ranks():
    rng = np.random.default_rng(1)
    found = [
        coverage_table(
            Judged(
                pits={"x": list(rng.random((60, 1)))},
                inside={"x": [np.ones((1, 4), bool)] * 60},
                converged=np.ones(60, bool),
                refused=0,
                faults={},
            )
        )["p_value"].item()
        for _ in range(150)
    ]
    assert np.mean(np.array(found) < 0.1) == pytest.approx(0.1, abs=0.075)


def test_ranks_of_equal_values_and_of_counts_are_uniform():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 4_000)
    among = ranked(truth, rng.integers(0, 3, (4_000, 50)), rng)
    pmf = np.tile([0.5, 0.3, 0.2], (4_000, 1))
    counted = ranked_counts(rng.choice(3, 4_000, p=pmf[0]), pmf, rng)
    for found in (among, counted):
        assert np.all((found.pit >= 0) & (found.pit <= 1))
        np.testing.assert_allclose(np.histogram(found.pit, 4, (0, 1))[0] / 4_000, 0.25, atol=0.035)
    np.testing.assert_allclose(counted.inside.mean(axis=0), LEVELS, atol=0.035)


def test_a_study_goes_on_where_it_was_stopped(tmp_path):
    def replicate(seed: int) -> Replicate:
        if seed == 2:
            raise DataError("nobody returned")
        return conjugate()(seed)

    study = toy(replicate)
    assert extend(study, tmp_path)["seed"] == 1
    with (tmp_path / "toy.jsonl").open("a") as file:
        file.write('{"seed":2,"fau')  # stopped while it wrote
    assert [record["seed"] for record in read_records(study, tmp_path)] == [1]
    assert extend(study, tmp_path)["refused"] == "nobody returned"
    assert extend(study, tmp_path)["seed"] == 3
    found = judged(read_records(study, tmp_path))
    assert (found.refused, found.converged.size) == (1, 2)
    again = json.loads((tmp_path / "toy.jsonl").read_text().splitlines()[0])
    assert again["found"]["mean"]["pit"] == [round(p, 4) for p in conjugate()(1).quantities["mean"].pit]


def test_replicates_of_another_design_do_not_count(tmp_path):
    before = toy(conjugate(shift=3.0))
    extend(before, tmp_path)
    study = replace(toy(conjugate()), design=2)
    assert list(read_records(study, tmp_path)) == []
    for _ in range(2):
        extend(study, tmp_path)
    assert [record["seed"] for record in read_records(study, tmp_path)] == [1, 2]
    assert [record["seed"] for record in read_records(before, tmp_path)] == [1]


def test_what_two_runs_made_twice_counts_once(tmp_path):
    study = toy(conjugate())
    extend(study, tmp_path)
    path = tmp_path / "toy.jsonl"
    path.write_text(2 * path.read_text())
    assert [record["seed"] for record in read_records(study, tmp_path)] == [1]


def test_coverage_of_all_quantities_together():
    def inside(*shares: float) -> list[np.ndarray]:
        return [np.arange(10)[:, None] < 10 * np.full(len(LEVELS), share) for share in shares]

    found = Judged(
        pits={},
        inside={"mu": inside(0.8, 1.0), "user: P": inside(0.5, 0.7), "(mu, wrong)": inside(0.0, 0.0)},
        converged=np.ones(2, bool),
        refused=0,
        faults={},
    )
    others, users = (pooled_coverage(found, of_users=of_users) for of_users in (False, True))
    assert (others["quantities"], others["90%"], users["90%"]) == pytest.approx((1, 0.9, 0.6))
    assert others["90% se"] == pytest.approx(0.1)
    assert pooled_coverage(replace(found, inside={"mu": inside(0.8, 1.0)}), of_users=True).to_dict() == {
        "quantities": 0
    }


def test_a_density_compiled_once_is_that_of_each_log():
    def density_of(size: int) -> Density:
        with pm.Model() as model:
            mu, log_spread = pm.Flat("mu"), pm.Flat("log_spread")
            x = np.random.default_rng(size).normal(1.0, 2.0, size)
            pm.Potential("loglik", -0.5 * pt.mean(((x - mu) / pt.exp(log_spread)) ** 2) - log_spread)
        return Density.of(model)

    eta = np.array([0.3, -0.2])
    with compiled_once() as compiled:
        for size in (30, 50):
            compiled.begin()
            density = density_of(size)
            whitening = Whitening.of(density, bent_by="mu")
            value, slope = whitening.whitened(density)(eta)
            assert [len(known) for known in compiled.made.values()] == [1, 1]  # the density and its variables
            with pytest.MonkeyPatch.context() as usual:
                usual.setattr("bayesdecay.model.density.function", pytensor_function)
                usual.setattr(Whitening, "whitened", WHITENED)
                plain = density_of(size)
                expected, gradient = whitening.whitened(plain)(eta)
            assert value == pytest.approx(expected, rel=1e-12)
            np.testing.assert_allclose(slope, gradient, rtol=1e-9)
            at = whitening.parameters(eta)[None, None]
            assert density.named(at)["mu"].item() == plain.named(at)["mu"].item()


def test_the_report_shows_each_study(tmp_path):
    folder = tmp_path / "calibration"
    folder.mkdir()
    for _ in range(60):
        extend(toy(conjugate()), folder)
    text = write_report([toy(conjugate())], folder).read_text()
    assert "## A toy" in text
    assert "60 replicates: with so many, a share of 90 % is known to 0.039" in text
    assert "1 of the toy fit" in text
    assert "![Ranks: A toy](calibration/toy.svg)" in text
    assert "mean" in (folder / "toy.svg").read_text()


# In so small a shop one user may well have a third of all activities.
@pytest.mark.filterwarnings("ignore:user .* decides what is learned of everybody:UserWarning")
def test_decay_model_is_calibrated_coarsely():
    """Ten logs of 60 users tell an interval of 90 % from one of 70 %, not more; the study tells the rest."""
    records = [decay_replicate(seed, method="laplace", users=60) for seed in range(1, 11)]
    population = [name for name in records[0].quantities if not name.startswith("user: ")]
    assert len(population) == 6
    inside = np.array([[r.quantities[name].inside[0] for name in population] for r in records])
    pits = np.array([[r.quantities[name].pit[0] for name in population] for r in records])
    assert 0.8 < inside[:, :, 2].mean() <= 1.0
    np.testing.assert_allclose(pits.mean(axis=0), 0.5, atol=3.5 * np.sqrt(1 / 12 / len(records)))
    for name in ("interest", "half-life", "P(return in 30d)", "activities in 30d"):
        own = np.array([r.quantities[f"user: {name}"].inside[:, 2].mean() for r in records])
        assert own.mean() == pytest.approx(0.9, abs=4 * max(own.std() / np.sqrt(own.size), 0.02)), name
    assert np.mean([not r.faults for r in records]) > 0.5


def test_single_users_of_a_shop_are_not_promised_too_much():
    """With a prior of interest's slope that the law itself contradicts, 60 % were held here.

    Their effects are not asked for: all of them share the luck of the one experiment.
    """
    found = coupon_replicate(1, users=1_500, asked=300).quantities
    for name in ("P(return) by the decay model", "P(return) if left alone"):
        assert found[f"user: {name}"].inside[:, 2].mean() > 0.8, name
