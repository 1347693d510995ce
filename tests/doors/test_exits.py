"""How a command ends: one line, an exit code, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings

import pytest

from bayesdecay.doors import pipeline
from bayesdecay.doors.exits import telling
from bayesdecay.errors import MissingExtraError, NotConvergedError
from bayesdecay.files import replacing
from tests.doors.conftest import bayesdecay, files


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("wrong"), 2),
        (TypeError("wrong"), 2),
        (OSError("wrong"), 2),
        (NotConvergedError("wrong"), 3),
        (MissingExtraError("wrong"), 4),
    ],
)
def test_errors_that_can_be_mended_are_a_line(error, code, capsys):
    with pytest.raises(SystemExit) as left, telling():
        raise error
    assert left.value.code == code
    assert capsys.readouterr().err == "bayesdecay: wrong\n"


def test_our_own_faults_show_whole():
    with pytest.raises(KeyError), telling():
        raise KeyError("a bug")


def test_warnings_are_a_line_each_and_told_once(capsys):
    with telling():
        for _ in range(2):
            warnings.warn("the cutoff lies\n  far beyond the log", UserWarning, stacklevel=1)
        warnings.warn("and another", UserWarning, stacklevel=1)
    told = "bayesdecay: warning: the cutoff lies far beyond the log\nbayesdecay: warning: and another\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_with_nothing_half_written(number, code, tmp_path, capsys):
    before = signal.getsignal(number)

    @telling()
    def write() -> None:
        with replacing(tmp_path / "out") as part:
            part.write_text("half", encoding="utf-8")
            os.kill(os.getpid(), number)
            time.sleep(5)

    with pytest.raises(SystemExit) as left:
        write()
    assert left.value.code == code
    assert capsys.readouterr().err.endswith("; nothing was written\n")
    assert files(tmp_path) == set()
    assert signal.getsignal(number) is before


def test_a_run_that_warns_or_is_stopped(shop, tmp_path, monkeypatch):
    def stopped(*_: object) -> None:
        warnings.warn("look out", UserWarning, stacklevel=1)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    monkeypatch.setattr(pipeline, "summarized", stopped)
    done = bayesdecay("run", *shop.counting, "--out", tmp_path / "new" / "out")
    assert done.code == 130
    assert done.err == "bayesdecay: warning: look out\nbayesdecay: stopped by Ctrl-C; nothing was written\n"
    assert files(tmp_path) == set()


def test_ctrl_c_while_sampling(shop, tmp_path):
    """No sampler takes Ctrl-C for 'enough draws': the process ends, and at once."""
    code = "from bayesdecay.doors.cli import main; main()"
    words = ["run", *map(str, shop.counting), "--draws", "200000", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while "users with an activity" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(8)  # by now it compiles or samples
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=90)
        finally:
            process.kill()  # or a process that goes on would be waited for
    assert process.returncode == 130, err
    assert "nothing was written" in err
    assert "Traceback" not in err
    assert "converged" not in out.lower()
    assert files(tmp_path) == set()
