"""A second try for a fit whose sampler did not converge, before it is given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.model.sampling import Sampling

__all__ = ["fitted"]


def fitted[F: (DecayFit, ReactivationFit)](
    fit: Callable[[Sampling | None], F], sampling: Sampling | None, tell: Callable[[str], None]
) -> F:
    """Fit; if the sampler did not converge, say so and fit once more with twice the draws and warm-up."""
    found = fit(sampling)
    if found.verdict.converged or found.verdict.proposals:  # more draws do not mend an approximation
        return found
    draws, tune = found.verdict.draws // found.verdict.chains, int(found.idata.attrs["tune"])
    more = replace(sampling or Sampling(), draws=2 * draws, tune=2 * tune)
    tell(f"{found.verdict}; once more, with {more.draws} draws after {more.tune} warm-up draws of each chain")
    return fit(more)
