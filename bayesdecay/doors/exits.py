"""What a command says, and how it ends: errors, warnings and Ctrl-C become one line each, and an exit code.

Only what the user can mend is turned into a line; any other error is a fault of ours and shows whole.
"""

from __future__ import annotations

import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from bayesdecay.errors import MissingExtraError, NotConvergedError

__all__ = ["POOR_FORECAST", "command_line", "remarks", "say", "telling"]

POOR_FORECAST, UNUSABLE, NOT_CONVERGED, NOT_INSTALLED = 1, 2, 3, 4
# Scripts know a process that a signal ended by 128 and the signal's number: 130 for Ctrl-C.
_BY_SIGNAL = 128
_SIGNALS = {signal.SIGINT: "stopped by Ctrl-C", signal.SIGTERM: "told to stop"}


class _Stopped(BaseException):
    """The user wants the command to end; unlike KeyboardInterrupt, no sampler takes it for 'enough draws'."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def say(*lines: object) -> None:
    """Print to standard output at once, also where it is a pipe or a file."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def remarks(notes: Iterable[str]) -> list[str]:
    """Notes as lines of their own."""
    return [f"remark: {note}" for note in notes]


def command_line() -> str:
    """Return the command line as it was typed."""
    return shlex.join(["bayesdecay", *sys.argv[1:]])


@contextmanager
def telling() -> Iterator[None]:
    """Turn what a user can mend into a line and an exit code; a context, and so a decorator of commands too."""
    with _warnings_as_lines(), _stoppable():
        try:
            yield
        except NotConvergedError as error:
            # The fits speak to those who write Python.
            text = str(error).replace("pass allow_unconverged=True", "add --allow-unconverged")
            _leave(text, NOT_CONVERGED)
        except MissingExtraError as error:
            _leave(str(error), NOT_INSTALLED)
        except (ValueError, TypeError, OSError) as error:
            _leave(str(error), UNUSABLE)
        except _Stopped as stopped:
            _leave(f"{_SIGNALS[signal.Signals(stopped.number)]}; nothing was written", _BY_SIGNAL + stopped.number)


def _leave(text: str, code: int) -> None:
    sys.stderr.write(f"bayesdecay: {text}\n")
    raise SystemExit(code) from None


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show each warning once, in a line of its own, without the place in our files that it came from."""
    told: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = " ".join(str(message).split())
        if text not in told:
            told.add(text)
            sys.stderr.write(f"bayesdecay: warning: {text}\n")

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=UserWarning)
        warnings.showwarning = show
        yield


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let Ctrl-C and a request to stop unwind the command, so that whatever was half-written is removed."""
    if threading.current_thread() is not threading.main_thread():  # only the main one may say what a signal does
        yield
        return
    before = {number: signal.signal(number, _stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _: FrameType | None) -> None:
    raise _Stopped(number)
