"""Real logs to start with: the CDNOW purchases that the field measures itself by.

The files are carried by the wheel of the `lifetimes` package (MIT licence), which the extra ``demo`` installs. That
package is no longer maintained, so its files are read and it is never imported.

References
----------
Fader, P. S. and Hardie, B. G. S. (2001). Forecasting repeat sales at CDNOW: a case study. *Interfaces* 31(3),
S94-S107. https://doi.org/10.1287/inte.31.3s.94.9683
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd

from bayesdecay import names
from bayesdecay.errors import MissingExtraError

__all__ = ["load_cdnow"]

_ITEMS = "n_items"


def load_cdnow(*, sample: bool = False) -> pd.DataFrame:
    """Purchases at a CD shop, 1997-01-01 to 1998-06-30, of all customers whose first was in the first quarter of 1997.

    Parameters
    ----------
    sample : bool
        The published systematic tenth of the customers, on which the literature's numbers are computed.

    Returns
    -------
    pandas.DataFrame
        One row a purchase: ``user`` (1 to 23,570; in the sample its own numbers, 1 to 2,357), ``time`` (the day),
        ``n_items`` [CDs], ``amount`` [US dollars]. 69,659 rows; the sample has 6,919.

    Raises
    ------
    MissingExtraError
        If the package that carries the files is not installed.

    Notes
    -----
    Benchmarks calibrate until 1997-09-30 and hold the 39 weeks after it out.

    Examples
    --------
    >>> load_cdnow(sample=True).shape
    (6919, 4)
    """
    name = "CDNOW_sample.txt" if sample else "CDNOW_master.txt"
    columns = [names.USER, names.TIME, _ITEMS, names.AMOUNT]
    log = pd.read_csv(
        _carried_file(name),
        sep=r"\s+",
        header=None,
        # The whole log begins with a line of titles, the sample with a column of the customers' numbers in the whole.
        names=["user_of_all", *columns] if sample else columns,
        skiprows=0 if sample else 1,
        usecols=columns,
        dtype={names.USER: "int64", names.TIME: "str", _ITEMS: "int64", names.AMOUNT: "float64"},
    )
    log[names.TIME] = pd.to_datetime(log[names.TIME], format="%Y%m%d").astype("datetime64[us]")
    return log


def _carried_file(name: str) -> Path:
    """Path of a file that the wheel carries; looking for the package does not import it."""
    spec = importlib.util.find_spec("lifetimes")
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        path = Path(folder) / "datasets" / name
        if path.is_file():
            return path
    raise MissingExtraError(
        f"{name} is carried by the extra 'demo', which is not installed; pip install 'bayesdecay[demo]'"
    )
