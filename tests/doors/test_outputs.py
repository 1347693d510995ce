"""Outputs that cannot be written are refused before anything is read or sampled."""

from __future__ import annotations

import os

import pytest

from bayesdecay.doors.outputs import check_file, check_folder, nearest_folder
from bayesdecay.errors import MissingExtraError
from tests.doors.conftest import bayesdecay, files

# None of these files is there: whoever looked for them first would say so.
FITS = ("--decay", "no.nc", "--reactivation", "no.nc")
COMMANDS = {
    "summarize": (("no.parquet",), "x.parquet", "a history is written as .parquet, not as"),
    "fit": (("no.parquet",), "x.nc", "a fit is written as .nc or .zarr, not as"),
    "score": (("no.parquet", "--decay", "no.nc"), "x.csv", "a table of scores is written as .parquet or .csv, not as"),
    "choose": (("no.parquet", *FITS), "x.csv", "an audience is written as .csv, not as"),
    "report": (("no.parquet", *FITS), "x.html", "a report is written as .html or .htm, not as"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_suffix_folder_or_kind_is_told_first(command, tmp_path):
    words, name, wrong_suffix = COMMANDS[command]
    (tmp_path / name).mkdir()
    for out, message in (
        (tmp_path / "x.doc", wrong_suffix),
        (tmp_path / "no" / name, f"there is no folder {tmp_path / 'no'}; make it first"),
        (tmp_path / name, "is a folder; give the name of a file"),
    ):
        done = bayesdecay(command, *words, "--out", out)
        assert done.code == 2
        assert message in done.err
    assert files(tmp_path) == {name}


@pytest.mark.parametrize("command", ["run", "demo"])
def test_folder_of_a_run_is_looked_at_first(command, tmp_path, monkeypatch):
    log = ("no.parquet",) if command == "run" else ()
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for out, message in ((tmp_path / "file", "is a file; give a folder"), (tmp_path / "file" / "x", "is a file, so")):
        done = bayesdecay(command, *log, "--out", out)
        assert (done.code, done.out) == (2, "")
        assert message in done.err
    monkeypatch.setattr(os, "access", lambda *_: False)  # the superuser may write everywhere
    done = bayesdecay(command, *log, "--out", tmp_path / "new" / "out")
    assert done.code == 2
    assert f"no permission to write in {tmp_path}; choose another folder" in done.err
    assert files(tmp_path) == {"file"}


def test_log_is_never_overwritten(shop, tmp_path):
    log = tmp_path / "log.parquet"
    log.write_bytes(shop.log.read_bytes())
    for source in (log, tmp_path / "*.parquet"):
        done = bayesdecay("summarize", source, *shop.columns, "--out", log)
        assert done.code == 2
        assert "is the log itself" in done.err
    assert log.read_bytes() == shop.log.read_bytes()


def test_what_can_be_written_passes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_file(tmp_path / "x.nc", suffixes=(".nc",), what="a fit")
    check_folder(tmp_path / "deep" / "er")
    check_folder(tmp_path.relative_to(tmp_path))
    assert nearest_folder(tmp_path / "deep" / "er") == tmp_path
    assert nearest_folder(tmp_path.relative_to(tmp_path) / "out") == tmp_path
    assert files(tmp_path) == set()


def test_a_format_that_is_not_installed_is_told_first(tmp_path, monkeypatch):
    monkeypatch.setattr("bayesdecay.doors.outputs.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"install bayesdecay\[zarr\]"):
        check_file(tmp_path / "x.zarr", suffixes=(".zarr",), what="a fit")
