"""What a fitted DataTree holds, whether it may be believed, and how it goes to a file and back.

A fit's tree has the groups ``posterior`` and ``sample_stats`` (chain, draw), ``constant_data`` (what scoring needs
besides the draws), and on request ``training_data``. Its attributes tell the kind of fit, the version that made it,
the description of the model as JSON, and the verdict.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesdecay.errors import DataError, MissingExtraError, NotConvergedError
from bayesdecay.files import replacing
from bayesdecay.model.leave_out import good_k

__all__ = [
    "ENOUGH_DRAWS",
    "GRID_TOLERANCE",
    "LAPLACE",
    "Verdict",
    "kind_of",
    "labelled",
    "read_tree",
    "summary_table",
    "thinned",
    "trees_by_name",
    "verdict_of",
    "write_tree",
]

_SUFFIXES = (".nc", ".zarr")
# Doubling the grid of rates may move the total log-likelihood by this much [nats].
GRID_TOLERANCE = 0.01
# The method that draws weighted proposals, as the attributes of sample_stats name it, and the effective draws that it
# owes: as many as four chains.
LAPLACE, ENOUGH_DRAWS = "laplace", 400
_KIND = "bayesdecay_fit"
_SEVERAL = "several"
_NAMES = "bayesdecay_names"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the draws can be trusted, with the figures it rests on.

    Notes
    -----
    Converged means for chains of NUTS: rank-normalised split R-hat at most 1.01; bulk and tail effective sample size at
    least 100 a chain; fewer than one divergence in a thousand draws; energy mixing (E-BFMI) at least 0.3. For weighted
    proposals of a Laplace approximation: k-hat at most 0.7, less for fewer than 2,200 proposals, and 400 effective
    draws. And for the decay model, by either method, a total log-likelihood that moves by at most 0.01 when the grid of
    rates is doubled. Weighted proposals have no R-hat and no E-BFMI: NaN.

    References
    ----------
    Vehtari, A. et al. (2021). Rank-normalization, folding, and localization: an improved R-hat. *Bayesian Analysis*
    16(2), 667-718. https://doi.org/10.1214/20-BA1221. Betancourt, M. (2016). https://doi.org/10.48550/arXiv.1604.00695
    """

    worst_rhat: float
    least_ess_bulk: float
    least_ess_tail: float
    divergences: int
    least_bfmi: float
    draws: int
    chains: int
    grid_error: float = 0.0
    # Of weighted proposals; none where the draws are chains of NUTS.
    k_hat: float = 0.0
    effective_draws: float = 0.0
    proposals: int = 0

    @classmethod
    def of(cls, tree: xr.DataTree, *, grid_error: float = 0.0) -> Verdict:
        """Judge the draws of a tree with groups ``posterior`` and ``sample_stats``."""
        if tree["sample_stats"].attrs.get("method") == LAPLACE:
            return cls._of_proposals(tree, grid_error=grid_error)
        import arviz as az

        posterior = _varying(tree["posterior"].to_dataset())

        def extreme(table: xr.Dataset, pick: Any) -> float:
            values = [np.asarray(table[name]).ravel() for name in table.data_vars]
            return float(pick(np.concatenate(values)))

        return cls(
            worst_rhat=extreme(az.rhat(posterior), np.max),
            least_ess_bulk=extreme(az.ess(posterior, method="bulk"), np.min),
            least_ess_tail=extreme(az.ess(posterior, method="tail"), np.min),
            divergences=int(tree["sample_stats"]["diverging"].sum()),
            least_bfmi=float(np.min(_bfmi(tree["sample_stats"]["energy"].to_numpy()))),
            draws=int(posterior.sizes["draw"] * posterior.sizes["chain"]),
            chains=int(posterior.sizes["chain"]),
            grid_error=grid_error,
        )

    @classmethod
    def _of_proposals(cls, tree: xr.DataTree, *, grid_error: float) -> Verdict:
        told, sizes = tree["sample_stats"].attrs, tree["posterior"].sizes
        return cls(
            worst_rhat=math.nan,
            least_ess_bulk=math.nan,
            least_ess_tail=math.nan,
            divergences=0,
            least_bfmi=math.nan,
            draws=int(sizes["draw"] * sizes["chain"]),
            chains=int(sizes["chain"]),
            grid_error=grid_error,
            k_hat=float(told["k_hat"]),
            effective_draws=float(told["effective_draws"]),
            proposals=int(told["proposals"]),
        )

    @property
    def method(self) -> str:
        """How the draws were made: "nuts" or "laplace"."""
        return LAPLACE if self.proposals else "nuts"

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, each with its remedy; empty where nothing is."""
        grid = (
            self.grid_error <= GRID_TOLERANCE,
            f"doubling the rate grid moves the fit by {self.grid_error:.3f}: raise rates",
        )
        checks = (*(self._of_weights() if self.proposals else self._of_chains()), grid)
        # Written so that a NaN, as of a parameter that never moved, is a fault too.
        return tuple(message for passed, message in checks if not passed)

    def _of_weights(self) -> tuple[tuple[bool, str], ...]:
        most, remedy = good_k(self.proposals), "the posterior is not like the approximation; use method='nuts'"
        few = f"the weights of {self.proposals} proposals leave {self.effective_draws:.0f} effective draws, below"
        return (
            (self.k_hat <= most, f"k-hat is {self.k_hat:.2f}, above {most:.2f}: {remedy}"),
            (self.effective_draws >= ENOUGH_DRAWS, f"{few} {ENOUGH_DRAWS}: {remedy}"),
        )

    def _of_chains(self) -> tuple[tuple[bool, str], ...]:
        ess = f"effective sample size of {self.least_ess_bulk:.0f} (bulk) and {self.least_ess_tail:.0f} (tail)"
        return (
            (self.worst_rhat <= 1.01, f"R-hat is {self.worst_rhat:.3f}, above 1.01: raise tune and draws"),
            (
                self.least_ess_bulk >= 100 * self.chains and self.least_ess_tail >= 100 * self.chains,
                f"{ess} is below {100 * self.chains}: raise draws",
            ),
            (
                1000 * self.divergences <= self.draws,
                f"{self.divergences} of {self.draws} draws diverged: raise tune, or use tighter priors",
            ),
            (self.least_bfmi >= 0.3, f"E-BFMI is {self.least_bfmi:.2f}, below 0.3: raise tune, or use tighter priors"),
        )

    @property
    def converged(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def require(self, *, allow_unconverged: bool) -> None:
        """Raise :class:`NotConvergedError` unless converged or explicitly allowed."""
        if self.faults and not allow_unconverged:
            raise NotConvergedError(
                f"the fit did not converge: {'; '.join(self.faults)}. "
                "To see its numbers all the same, marked as not converged, pass allow_unconverged=True"
            )

    def __str__(self) -> str:
        head = "converged" if self.converged else "NOT CONVERGED: " + "; ".join(self.faults)
        if self.proposals:
            return (
                f"{head} (Laplace approximation, k-hat {self.k_hat:.2f}, {self.effective_draws:.0f} effective draws of "
                f"{self.proposals} weighted proposals)"
            )
        return (
            f"{head} (R-hat {self.worst_rhat:.3f}, ESS bulk {self.least_ess_bulk:.0f} and tail "
            f"{self.least_ess_tail:.0f}, {self.divergences} divergences in {self.draws} draws of {self.chains} chains, "
            f"E-BFMI {self.least_bfmi:.2f})"
        )


def _varying(posterior: xr.Dataset) -> xr.Dataset:
    """Drop what was fixed by the user and so has nothing to converge."""
    fixed = [name for name, values in posterior.data_vars.items() if values.attrs.get("fixed", 0)]
    return posterior.drop_vars(fixed)


def _bfmi(energy: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Energy Bayesian fraction of missing information of each chain (chain,)."""
    return np.asarray(np.square(np.diff(energy, axis=1)).mean(axis=1) / energy.var(axis=1))


def summary_table(tree: xr.DataTree, verdict: Verdict, *, ci_prob: float = 0.9) -> pd.DataFrame:
    """Posterior mean, sd, equal-tailed interval of every parameter, and what its draws are judged by."""
    import arviz as az

    posterior = tree["posterior"].to_dataset()
    tail = 100 * (1 - ci_prob) / 2
    table = az.summary(posterior, ci_prob=ci_prob, ci_kind="eti", round_to="none", kind="stats")
    lower, upper = (column for column in table.columns if str(column).startswith("eti"))
    table = table.rename(columns={lower: f"{tail:g} %", upper: f"{100 - tail:g} %"})
    if verdict.proposals:
        # Proposals are independent: there is no chain to judge, and their weights are the same for every parameter.
        table["k_hat"], table["effective_draws"] = verdict.k_hat, verdict.effective_draws
    else:
        diagnostics = az.summary(_varying(posterior), round_to="none", kind="diagnostics")
        table = table.join(diagnostics[["r_hat", "ess_bulk", "ess_tail"]])
    if not verdict.converged:
        table["converged"] = False
    table.index.name = "parameter"
    table.attrs.update({"ci_prob": ci_prob, "verdict": str(verdict)})
    return table


def thinned(posterior: xr.Dataset, draws: int) -> xr.Dataset:
    """Stack chain and draw into ``sample`` and keep at most ``draws`` of them, evenly spread over the chains."""
    per_chain = posterior.sizes["draw"]
    keep = np.unique(np.linspace(0, posterior.sizes["chain"] * per_chain - 1, draws).round().astype(int))
    # Only what is kept is looked up: stacking all of it would take most of the time of scoring one user.
    chain, draw = (xr.DataArray(places, dims="sample") for places in np.divmod(keep, per_chain))
    kept = posterior.isel(chain=chain, draw=draw).drop_vars(["chain", "draw"], errors="ignore")
    return kept.transpose("sample", ...)


def write_tree(trees: Mapping[str, xr.DataTree] | xr.DataTree, path: str | Path) -> Path:
    """Write one fit, or several by name, to ``.nc`` (NetCDF 4) or ``.zarr``; whole or not at all.

    Raises
    ------
    ValueError
        If the suffix is neither.
    """
    target = Path(path)
    tree = trees if isinstance(trees, xr.DataTree) else _nested(trees)
    if target.suffix not in _SUFFIXES:
        raise ValueError(f"a fit is saved as .nc or .zarr, not as {target.name!r}")
    with replacing(target) as part:
        if target.suffix == ".nc":
            tree.to_netcdf(part, engine="h5netcdf")
        else:
            _require_zarr()
            tree.to_zarr(part, consolidated=False)
    return target


def read_tree(path: str | Path) -> xr.DataTree:
    """Read what :func:`write_tree` wrote, wholly into memory.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    DataError
        If it is not a fit of this package.
    """
    source = Path(path)
    if not source.exists():
        raise FileNotFoundError(f"no fit at {source}")
    how: dict[str, Any] = {"engine": "h5netcdf"}
    if source.suffix == ".zarr":
        _require_zarr()
        how = {"engine": "zarr", "consolidated": False}
    try:
        with xr.open_datatree(source, **how) as opened:
            tree = opened.load()
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{source} cannot be read as a saved fit: {error}") from error
    if _KIND not in tree.attrs:
        raise DataError(f"{source} is not a fit saved by bayesdecay")
    return tree


def labelled(tree: xr.DataTree, *, kind: str, model: Mapping[str, Any], verdict: Verdict) -> xr.DataTree:
    """Return the tree with the attributes that make it a fit of this package."""
    from bayesdecay import __version__

    tree.attrs.update(
        {
            _KIND: kind,
            "bayesdecay_version": __version__,
            "model": json.dumps(model, default=str),
            "verdict": json.dumps(asdict(verdict)),
        }
    )
    return tree


def kind_of(tree: xr.DataTree) -> str | None:
    """Kind of fit that a tree holds, None if it holds several by name."""
    kind: str = tree.attrs[_KIND]
    return None if kind == _SEVERAL else kind


def trees_by_name(tree: xr.DataTree) -> dict[str, xr.DataTree]:
    """Take apart a tree that holds several fits, in the order that they were saved in."""
    order = json.loads(tree.attrs[_NAMES])
    return {name: xr.DataTree.from_dict(tree.children[name].to_dict(relative=True)) for name in order}


def verdict_of(tree: xr.DataTree) -> Verdict:
    """Read the verdict back from a saved tree."""
    return Verdict(**json.loads(tree.attrs["verdict"]))


def _nested(trees: Mapping[str, xr.DataTree]) -> xr.DataTree:
    """Put several fits into one tree, each under its name."""
    nested: dict[str, xr.Dataset] = {}
    for name, tree in trees.items():
        for path, dataset in tree.to_dict().items():
            nested[f"/{name}" if path == "/" else f"/{name}{path}"] = dataset
    tree = xr.DataTree.from_dict(nested)
    # A Zarr folder lists its groups in the file system's order, so the order of the names is kept apart.
    tree.attrs.update({_KIND: _SEVERAL, _NAMES: json.dumps(list(trees))})
    return tree


def _require_zarr() -> None:
    from importlib.util import find_spec

    if find_spec("zarr") is None:
        raise MissingExtraError("zarr is not installed; install bayesdecay[zarr], or save as .nc")
