"""NUTS for any of the models: nutpie where it is installed, PyMC's own otherwise."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pymc as pm
import xarray as xr

from bayesdecay.errors import MissingExtraError, unknown_name

__all__ = ["Sampling", "draw_posterior"]

# Variables up to which the sampler learns their correlations as well as their scales.
_MOST_CORRELATED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the posterior is drawn.

    Parameters
    ----------
    draws, tune : int
        Kept and warm-up draws of each chain.
    chains : int
        Independent chains; at least two, or convergence cannot be judged.
    cores : int, optional
        Chains run at the same time; all that the machine has, unless told.
    sampler : {"nutpie", "pymc"}, optional
        The NUTS to use; nutpie where it is installed, unless told.
    progress : bool, optional
        Show a progress bar; only in a terminal or a notebook, unless told.
    """

    draws: int = 500
    tune: int = 300
    chains: int = 4
    cores: int | None = None
    sampler: str | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        if self.draws < 1 or self.tune < 1:
            raise ValueError(f"draws and tune must be at least 1, got {self.draws} and {self.tune}")
        if self.chains < 2:
            raise ValueError(f"chains must be at least 2, got {self.chains}: one chain cannot show that it converged")
        if self.sampler not in (None, *_SAMPLERS):
            raise unknown_name("sampler", self.sampler, _SAMPLERS)
        if self.sampler == "nutpie" and find_spec("nutpie") is None:
            raise MissingExtraError("nutpie is not installed; install bayesdecay[fast], or use sampler='pymc'")

    @property
    def shows_progress(self) -> bool:
        """Whether a progress bar is shown: as told, else where somebody looks."""
        if self.progress is not None:
            return self.progress
        return sys.stderr.isatty() or "ipykernel" in sys.modules


def draw_posterior(model: pm.Model, sampling: Sampling, *, random_seed: int | None = None) -> xr.DataTree:
    """Draw from a model's posterior; the same seed gives the same draws on the same machine.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` and ``sample_stats`` with the dimensions ``chain`` and ``draw``.
    """
    name = sampling.sampler or ("nutpie" if find_spec("nutpie") else "pymc")
    with warnings.catch_warnings():
        # Convergence is judged by our own verdict, which a caller cannot overlook; numba's remarks are not for users.
        warnings.simplefilter("ignore")
        tree = _SAMPLERS[name](model, sampling, random_seed)
    kept = {group: tree[group].to_dataset() for group in ("posterior", "sample_stats")}
    kept["sample_stats"] = kept["sample_stats"][
        ["diverging", "energy", "tree_depth" if "tree_depth" in kept["sample_stats"] else "depth"]
    ]
    internal = [str(v) for v in kept["posterior"].data_vars if str(v).endswith("_offset_")]
    kept["posterior"] = kept["posterior"].drop_vars(internal)
    result = xr.DataTree.from_dict(kept)
    result.attrs.update({"sampler": name, "tune": sampling.tune})
    return result


def _with_nutpie(model: pm.Model, sampling: Sampling, random_seed: int | None) -> xr.DataTree:
    import nutpie

    compiled = nutpie.compile_pymc_model(model)
    return nutpie.sample(
        compiled,
        draws=sampling.draws,
        tune=sampling.tune,
        chains=sampling.chains,
        cores=sampling.cores,
        seed=random_seed,
        save_warmup=False,
        progress_bar=sampling.shows_progress,
        # The population's parameters are strongly correlated: a diagonal metric takes three times the gradients. Over
        # the 400 variables of the reference model on 200 users it is the other way: low rank 70 s, diagonal 2 s.
        adaptation="low_rank" if compiled.n_dim <= _MOST_CORRELATED else "diag",
    )


def _with_pymc(model: pm.Model, sampling: Sampling, random_seed: int | None) -> xr.DataTree:
    options: dict[str, Any] = {"draws": sampling.draws, "tune": sampling.tune, "chains": sampling.chains}
    return pm.sample(
        **options,
        model=model,
        cores=sampling.cores,
        random_seed=random_seed,
        nuts_sampler="pymc",
        progressbar=sampling.shows_progress,
        quiet=True,
        compute_convergence_checks=False,
    )


_SAMPLERS = {"nutpie": _with_nutpie, "pymc": _with_pymc}
