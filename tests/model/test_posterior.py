"""The contract of a fit: its verdict, and its way to a file and back."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import bayesdecay
from bayesdecay.errors import DataError, MissingExtraError, NotConvergedError
from bayesdecay.model import posterior as module
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.fits import load, save_fits
from bayesdecay.model.posterior import Verdict, read_tree, thinned, verdict_of, write_tree
from bayesdecay.model.scoring import ScoreOptions

GOOD = Verdict(
    worst_rhat=1.004,
    least_ess_bulk=900.0,
    least_ess_tail=700.0,
    divergences=0,
    least_bfmi=0.9,
    draws=1_000,
    chains=2,
    grid_error=0.001,
)
SUFFIXES = (".nc", ".zarr")


def needs(suffix: str) -> None:
    if suffix == ".zarr" and importlib.util.find_spec("zarr") is None:
        pytest.skip("zarr is not installed; the extra 'zarr' brings it")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_save_and_load_is_identical(fit, history, tmp_path, suffix):
    needs(suffix)
    path = fit.save(tmp_path / f"decay{suffix}")
    back = load(path)
    assert isinstance(back, DecayFit)
    xr.testing.assert_identical(back.idata, fit.idata)
    for node in fit.idata.subtree:
        for name, values in node.data_vars.items():
            assert back.idata[node.path][name].dtype == values.dtype
    assert back.verdict == fit.verdict
    assert back.idata.attrs["bayesdecay_version"] == bayesdecay.__version__
    options = ScoreOptions(random_seed=1)
    scores = [f.score(history, options=options, draws=20).table for f in (fit, back)]
    assert scores[0].equals(scores[1])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_save_and_load_with_groups(grouped_fit, grouped, tmp_path, suffix):
    needs(suffix)
    back = load(grouped_fit.save(tmp_path / f"decay{suffix}"))
    xr.testing.assert_equal(back.idata, grouped_fit.idata)
    options = ScoreOptions(random_seed=1)
    scores = [f.score(grouped, options=options, draws=20).table for f in (grouped_fit, back)]
    assert scores[0].equals(scores[1])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_several_fits_by_name(fit, grouped_fit, tmp_path, suffix):
    needs(suffix)
    back = load(save_fits({"plain": fit, "grouped": grouped_fit}, tmp_path / f"both{suffix}"))
    assert list(back) == ["plain", "grouped"]
    xr.testing.assert_equal(back["plain"].idata, fit.idata)
    assert back["grouped"].verdict == grouped_fit.verdict


def test_a_file_is_small_without_the_training_data(fit, tmp_path):
    draws = sum(values.nbytes for values in fit.idata["posterior"].data_vars.values())
    assert fit.save(tmp_path / "decay.nc").stat().st_size < 3 * draws + 100_000
    assert "training_data" not in fit.idata


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_write_leaves_the_old_file(fit, tmp_path, suffix, monkeypatch):
    needs(suffix)
    path = fit.save(tmp_path / f"decay{suffix}")

    def interrupted(self, part, **options):
        part.write_bytes(b"half") if suffix == ".nc" else part.mkdir()
        raise OSError("no space left on device")

    monkeypatch.setattr(xr.DataTree, "to_netcdf" if suffix == ".nc" else "to_zarr", interrupted)
    with pytest.raises(OSError, match="no space left"):
        write_tree(xr.DataTree(), path)
    xr.testing.assert_identical(load(path).idata, fit.idata)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_saving_again_replaces(fit, grouped_fit, tmp_path, suffix):
    needs(suffix)
    grouped_fit.save(tmp_path / f"decay{suffix}")
    xr.testing.assert_identical(load(fit.save(tmp_path / f"decay{suffix}")).idata, fit.idata)


@pytest.mark.parametrize("content", [b"", b"not a fit at all", b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_garbage_is_refused(tmp_path, content):
    path = tmp_path / "decay.nc"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"decay\.nc cannot be read as a saved fit"):
        load(path)


def test_a_truncated_file_is_refused(fit, tmp_path):
    path = fit.save(tmp_path / "decay.nc")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"decay\.nc cannot be read as a saved fit"):
        load(path)


def test_an_empty_folder_is_no_zarr_store(tmp_path):
    needs(".zarr")
    (tmp_path / "decay.zarr").mkdir()
    with pytest.raises(DataError, match=r"decay\.zarr"):
        load(tmp_path / "decay.zarr")


def test_somebody_elses_file_is_refused(tmp_path):
    xr.Dataset({"x": 1.0}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=r"other\.nc is not a fit saved by bayesdecay"):
        load(tmp_path / "other.nc")


def test_a_fit_of_a_newer_version_is_refused_by_its_kind(fit, tmp_path):
    tree = fit.idata.copy()
    tree.attrs = {**tree.attrs, "bayesdecay_fit": "uplift"}
    with pytest.raises(DataError, match="unknown kind 'uplift'"):
        load(write_tree(tree, tmp_path / "new.nc"))


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no fit at"):
        load(tmp_path / "decay.nc")


def test_only_two_suffixes(fit, tmp_path):
    with pytest.raises(ValueError, match=r"a fit is saved as \.nc or \.zarr, not as 'decay\.pkl'"):
        fit.save(tmp_path / "decay.pkl")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        fit.save(tmp_path / "nowhere" / "decay.nc")


def test_zarr_says_which_extra_brings_it(fit, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"install bayesdecay\[zarr\], or save as \.nc"):
        fit.save(tmp_path / "decay.zarr")
    assert list(tmp_path.iterdir()) == []


FAULTS = {
    "worst_rhat": (1.011, "R-hat is 1.011, above 1.01: raise tune and draws"),
    "least_ess_bulk": (199.0, r"effective sample size of 199 \(bulk\) and 700 \(tail\) is below 200: raise draws"),
    "least_ess_tail": (50.0, r"effective sample size of 900 \(bulk\) and 50 \(tail\) is below 200: raise draws"),
    "divergences": (2, "2 of 1000 draws diverged: raise tune, or use tighter priors"),
    "least_bfmi": (0.29, "E-BFMI is 0.29, below 0.3: raise tune, or use tighter priors"),
    "grid_error": (0.02, "doubling the rate grid moves the fit by 0.020: raise rates"),
}


def test_a_good_verdict_lets_pass():
    assert GOOD.converged
    assert GOOD.faults == ()
    assert str(GOOD).startswith("converged (R-hat 1.004, ESS bulk 900 and tail 700, 0 divergences in 1000 draws")
    assert replace(GOOD, divergences=1).converged  # one in a thousand
    assert GOOD.require(allow_unconverged=False) is None


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_told_with_its_remedy(name):
    value, message = FAULTS[name]
    verdict = replace(GOOD, **{name: value})
    assert len(verdict.faults) == 1
    with pytest.raises(NotConvergedError, match=f"the fit did not converge: {message}"):
        verdict.require(allow_unconverged=False)
    assert str(verdict).startswith("NOT CONVERGED: ")
    assert verdict.require(allow_unconverged=True) is None


@pytest.mark.parametrize("name", ["worst_rhat", "least_ess_bulk", "least_ess_tail", "least_bfmi", "grid_error"])
def test_a_figure_that_is_not_a_number_is_a_fault(name):
    assert not replace(GOOD, **{name: float("nan")}).converged


def chains_of(values: np.ndarray, **stats) -> xr.DataTree:
    dims = ("chain", "draw")
    rng = np.random.default_rng(1)
    given = {"energy": rng.standard_normal(values.shape), "diverging": np.zeros(values.shape, dtype=bool)} | stats
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"x": (dims, values)}),
            "sample_stats": xr.Dataset({name: (dims, value) for name, value in given.items()}),
        }
    )


def test_verdict_sees_chains_that_disagree():
    rng = np.random.default_rng(2)
    draws = rng.standard_normal((4, 500))
    assert Verdict.of(chains_of(draws)).converged
    apart = Verdict.of(chains_of(draws + np.array([[0.0], [0.0], [0.0], [2.0]])))
    assert apart.worst_rhat > 1.1
    assert not apart.converged


def test_verdict_sees_a_chain_that_hardly_moves():
    rng = np.random.default_rng(3)
    walk = np.cumsum(rng.standard_normal((4, 500)), axis=1)
    assert Verdict.of(chains_of(walk)).least_ess_bulk < 100


def test_verdict_sees_divergences_and_poor_energy():
    rng = np.random.default_rng(4)
    draws = rng.standard_normal((4, 500))
    diverging = np.zeros(draws.shape, dtype=bool)
    diverging[0, :7] = True
    assert Verdict.of(chains_of(draws, diverging=diverging)).divergences == 7
    slow = np.cumsum(rng.standard_normal(draws.shape), axis=1)
    assert Verdict.of(chains_of(draws, energy=slow)).least_bfmi < 0.1


def test_verdict_survives_the_attributes():
    odd = replace(GOOD, worst_rhat=float("nan"), divergences=3)
    tree = module.labelled(xr.DataTree(), kind="decay", model={"a": 1}, verdict=odd)
    back = verdict_of(tree)
    assert np.isnan(back.worst_rhat)
    assert back.divergences == 3
    assert json.loads(tree.attrs["model"]) == {"a": 1}


def test_thinning_takes_from_every_chain(fit):
    sample = thinned(fit.idata["posterior"].to_dataset(), 10)
    assert sample.sizes["sample"] == 10
    chains = fit.idata["posterior"]["alpha"].to_numpy()
    taken = sample["alpha"].to_numpy()
    assert np.isin(taken, chains[0]).sum() == np.isin(taken, chains[1]).sum() == 5
    everything = thinned(fit.idata["posterior"].to_dataset(), chains.size)
    np.testing.assert_array_equal(everything["alpha"], chains.ravel())


def test_written_trees_are_read_into_memory(fit, tmp_path):
    path = fit.save(tmp_path / "decay.nc")
    tree = read_tree(path)
    path.unlink()
    assert np.isfinite(tree["posterior"]["rho"].mean())
