"""NUTS for any of the models: nutpie where it is installed, PyMC's own otherwise."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr

from bayesdecay.errors import MissingExtraError, unknown_name
from bayesdecay.model.density import Density
from bayesdecay.model.variables import OFFSET, SHARED_INTEREST, is_horseshoe, is_spread
from bayesdecay.model.whitening import Whitening
from bayesdecay.watched import watched

__all__ = ["FEW_PARAMETERS", "Sampling", "draw_posterior"]

# Variables up to which the sampler learns their correlations as well as their scales.
_MOST_CORRELATED = 250
_SAMPLERS = ("nutpie", "pymc")
_COORDINATE = "coordinate"
# On CDNOW, 2,000 draws of the decay and the reactivation model have least effective sizes of 1,220 to 1,580 and 1,870
# to 2,420 after 100 warm-up draws, 950 to 1,470 and 2,010 to 2,140 after 200.
_DRAWS, _TUNE, _TUNE_WHITENED = 500, 200, 100
# Where a spread may be next to nothing, or a slope be and not be there, the posterior has narrow places: 2,000 draws of
# 30 small groups have an R-hat of 1.010 to 1.013.
_DRAWS_NARROW, _TUNE_NARROW = 1_000, 300
# The less is known of interest, the longer the tail of its slope: of six fits to the CDNOW sample one of 2,000 draws
# after 100 at 0.9 does not converge, and none of 3,000 after 200 at 0.95.
_DRAWS_SHARED, _TUNE_SHARED = 750, 200
# Parameters up to which a model is not compiled: compiling takes ten seconds, calling the fused operation from Python
# 0.1 ms a time, and nearly all the work is inside of it, however many rows there are.
FEW_PARAMETERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the posterior is drawn.

    Parameters
    ----------
    draws : int, optional
        Kept draws of each chain; unless told, 500, with an uncertain interest 750, and 1,000 where values are pooled
        over groups, effects may differ between users, or slopes have a horseshoe prior.
    tune : int, optional
        Warm-up draws of each chain; unless told, 100 in coordinates that are whitened beforehand, where only the step
        is to be found, 300 where 1,000 draws are kept, and 200 elsewhere and with an uncertain interest.
    chains : int
        Independent chains; at least two, or convergence cannot be judged.
    target_accept : float, optional
        Share of proposals that the sampler aims to accept; nearer to 1 means smaller steps and fewer divergences.
        0.9, 0.95 where values are pooled over groups or interest is uncertain, and 0.995 for a horseshoe, unless told.
    cores : int, optional
        Chains run at the same time; all that the machine has, unless told.
    sampler : {"nutpie", "pymc"}, optional
        The NUTS to use; nutpie where it is installed, unless told.
    progress : bool, optional
        Show a progress bar; only in a terminal or a notebook, unless told.
    """

    draws: int | None = None
    tune: int | None = None
    chains: int = 4
    target_accept: float | None = None
    cores: int | None = None
    sampler: str | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        for name, value in (("draws", self.draws), ("tune", self.tune)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.chains < 2:
            raise ValueError(f"chains must be at least 2, got {self.chains}: one chain cannot show that it converged")
        if self.target_accept is not None and not 0.5 <= self.target_accept < 1.0:
            raise ValueError(f"target_accept must lie in [0.5, 1), got {self.target_accept}")
        if self.sampler not in (None, *_SAMPLERS):
            raise unknown_name("sampler", self.sampler, _SAMPLERS)
        if self.sampler == "nutpie" and find_spec("nutpie") is None:
            raise MissingExtraError("nutpie is not installed; install bayesdecay[fast], or use sampler='pymc'")

    @property
    def shows_progress(self) -> bool:
        """Whether a progress bar is shown: as told, else where somebody looks."""
        if self.progress is not None:
            return self.progress
        return watched(sys.stderr)


def draw_posterior(
    model: pm.Model,
    sampling: Sampling,
    *,
    density: Density | None = None,
    whitening: Whitening | None = None,
    random_seed: int | None = None,
) -> xr.DataTree:
    """Draw from a model's posterior.

    The same seed gives the same draws on the same machine.

    Parameters
    ----------
    whitening : Whitening, optional
        Coordinates in which it is sampled.
    density : Density, optional
        The model's density, to be called as it is; without it the whole model is compiled, which pays where much of the
        work is done outside of one fused operation.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` and ``sample_stats`` with the dimensions ``chain`` and ``draw``.
    """
    name = sampling.sampler or ("nutpie" if find_spec("nutpie") else "pymc")
    sampling = _told(sampling, model, whitening)
    with warnings.catch_warnings():
        # Convergence is judged by our own verdict, which a caller cannot overlook; numba's remarks are not for users.
        warnings.simplefilter("ignore")
        if name == "pymc":
            tree = _with_pymc(whitening.applied(model) if whitening else model, sampling, random_seed)
        elif density is not None and whitening is not None:
            tree = _with_nutpie(_whitened(density, whitening), model, sampling, random_seed)
            eta = tree["posterior"][_COORDINATE].to_numpy()
            tree["posterior"] = xr.DataTree(density.named(whitening.parameters(eta)))
        else:
            tree = _with_nutpie(
                _compiled(whitening.applied(model) if whitening else model), model, sampling, random_seed
            )
    kept = {group: tree[group].to_dataset() for group in ("posterior", "sample_stats")}
    kept["sample_stats"] = kept["sample_stats"][
        ["diverging", "energy", "tree_depth" if "tree_depth" in kept["sample_stats"] else "depth"]
    ]
    internal = [name for name in kept["posterior"].variables if OFFSET in str(name)]  # a dimension's labels among them
    kept["posterior"] = kept["posterior"].drop_vars(internal)
    result = xr.DataTree.from_dict(kept)
    result.attrs.update({"sampler": name, "tune": sampling.tune})
    return result


def _compiled(model: pm.Model) -> Any:
    import nutpie

    return nutpie.compile_pymc_model(model)


def _whitened(density: Density, whitening: Whitening) -> Any:
    """Hand nutpie the density as a function of the coordinates; one of its own to each chain."""
    from nutpie.compiled_pyfunc import from_pyfunc

    size = whitening.center.size
    return from_pyfunc(
        size,
        make_logp_fn=lambda: whitening.whitened(density.twin()),
        make_expand_fn=lambda *_: lambda eta: {_COORDINATE: eta},
        expanded_dtypes=[np.dtype(np.float64)],
        expanded_shapes=[(size,)],
        expanded_names=[_COORDINATE],
        make_initial_point_fn=lambda seed: np.random.default_rng(seed).uniform(-1.0, 1.0, size),
    )


def _with_nutpie(compiled: Any, model: pm.Model, sampling: Sampling, random_seed: int | None) -> xr.DataTree:
    import nutpie

    few = compiled.n_dim <= _MOST_CORRELATED
    return nutpie.sample(
        compiled,
        draws=sampling.draws,
        tune=sampling.tune,
        chains=sampling.chains,
        cores=sampling.cores or os.cpu_count(),
        seed=random_seed,
        save_warmup=False,
        progress_bar=sampling.shows_progress,
        target_accept=_target_accept(model, sampling),
        # Over the 400 variables of the reference model on 200 users a metric with correlations takes 70 s, without 2 s.
        adaptation="low_rank" if few else "diag",
        # Strong: what 200 warm-up draws say of correlations is noise where coordinates are whitened. With nutpie's
        # default the least effective sample size on CDNOW is 480 to 660 of 1,600 draws, with this 780 to 850.
        **({"mass_matrix_gamma": 1.0} if few else {}),
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
        target_accept=_target_accept(model, sampling),
        compute_convergence_checks=False,
    )


def _told(sampling: Sampling, model: pm.Model, whitening: Whitening | None) -> Sampling:
    """Fill in how many draws are kept, and thrown away before, where nothing was said."""
    if any(is_spread(name) or is_horseshoe(name) for name in model.named_vars):
        draws, tune = _DRAWS_NARROW, _TUNE_NARROW
    elif SHARED_INTEREST in model.named_vars:
        draws, tune = _DRAWS_SHARED, _TUNE_SHARED
    else:
        draws, tune = _DRAWS, _TUNE if whitening is None else _TUNE_WHITENED
    return replace(sampling, draws=sampling.draws or draws, tune=sampling.tune or tune)


def _target_accept(model: pm.Model, sampling: Sampling) -> float:
    """The share as told; more care where groups' spreads make a funnel or a tail is long, and most in a horseshoe."""
    if sampling.target_accept is not None:
        return sampling.target_accept
    # Of 1,000 draws of a horseshoe over 40 columns some 40 diverge at 0.9, 2 to 5 at 0.97 and none at 0.99;
    # over 200 beside five slopes of their own, 1.5 of 1,000 at 0.99.
    if any(is_horseshoe(name) for name in model.named_vars):
        return 0.995
    careful = SHARED_INTEREST in model.named_vars or any(is_spread(name) for name in model.named_vars)
    return 0.95 if careful else 0.9
