"""Whether somebody looks on while the work is done."""

from __future__ import annotations

import sys
from typing import TextIO

__all__ = ["watched"]


def watched(stream: TextIO) -> bool:
    """Whether what is written to a stream is seen as it comes: in a terminal or a notebook, not in a file."""
    return stream.isatty() or "ipykernel" in sys.modules
