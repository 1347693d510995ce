"""Fits to a file and back: one fit, or several by name, of either model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import xarray as xr

from bayesdecay.errors import DataError
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.effect_fit import EffectFit
from bayesdecay.model.kind_fit import KindFit
from bayesdecay.model.posterior import kind_of, read_tree, trees_by_name, write_tree
from bayesdecay.model.returning import ReactivationFit

__all__ = ["Fit", "load", "save_fits"]

Fit = DecayFit | ReactivationFit | EffectFit | KindFit
_FITS: dict[str | None, type[DecayFit] | type[ReactivationFit] | type[EffectFit] | type[KindFit]] = {
    DecayFit.KIND: DecayFit,
    ReactivationFit.KIND: ReactivationFit,
    EffectFit.KIND: EffectFit,
    KindFit.KIND: KindFit,
}


def load(path: str | Path) -> Fit | dict[str, Fit]:
    """Read what ``fit.save`` or :func:`save_fits` wrote (``.nc`` or ``.zarr``).

    Returns
    -------
    DecayFit, ReactivationFit, EffectFit, KindFit, or a dict of them by name
        As it was saved; the draws are identical.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    DataError
        If it is not a fit of this package.
    """
    tree = read_tree(path)
    if kind_of(tree) is not None:
        return _fit(tree)
    return {name: _fit(one) for name, one in trees_by_name(tree).items()}


def save_fits(fits: Mapping[str, Fit], path: str | Path) -> Path:
    """Write several fits by name, such as one a horizon, into one ``.nc`` or ``.zarr``; whole or not at all."""
    return write_tree({name: fit.idata for name, fit in fits.items()}, path)


def _fit(tree: xr.DataTree) -> Fit:
    kind = kind_of(tree)
    if kind not in _FITS:
        raise DataError(f"a fit of the unknown kind {kind!r}; it was saved by a newer version of bayesdecay")
    return _FITS[kind](idata=tree)
