"""What the command line refuses: exit code, message, and nothing written."""

from __future__ import annotations

import pytest

from tests.doors.conftest import bayesdecay, files


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--at", "some day"), "cutoff 'some day' cannot be read as a date"),
        (("--at", "1999-01-01"), "no event up to the cutoff 1999-01-01"),
        (("--cost", "0.5"), "a campaign needs both --cost (of a contact) and --value (of a reactivation)"),
        (("--value", "20"), "a campaign needs both --cost (of a contact) and --value (of a reactivation)"),
        (
            ("--budget", "500", "--risk", "neutral"),
            "--budget and --risk alone is no campaign; describe it by --cost and --value",
        ),
        (("--cost", "1", "--value", "9", "--effect", "big"), "effect"),
        (("--cost", "-1", "--value", "9"), "campaign: cost is -1; give 0 or more"),
        (("--cost", "cheap", "--value", "9"), 'unable to convert "cheap" into float'),
        (("--horizon", "30x"), "duration '30x' cannot be read"),
        (("--horizon", "30d,30d"), "one or several different durations"),
        (("--lapsed-after", "long"), "duration 'long' cannot be read"),
        (("--activity", "week"), "unknown activity 'week'; choose from day, event, session"),
        (("--group", "segment"), "unknown column 'segment'"),
        (("--kinds", "purchase"), "the log was read without kinds"),
        (("--chains", "1"), "chains must be at least 2"),
        (("--horizon", "12h"), "horizon 12h is shorter than a day"),
        (("--session-gap", "soon"), "duration 'soon' cannot be read"),
        (("--horizn", "30d"), "Unknown option: --horizn. Did you mean --horizon?"),
    ],
)
def test_run_refuses(shop, tmp_path, words, message):
    done = bayesdecay("run", shop.log, *shop.columns, "--out", tmp_path / "new" / "out", *words)
    assert done.code == 2
    assert message in " ".join(done.err.replace("│", " ").split())
    assert "Traceback" not in done.err
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--user", "custmer"), "unknown column for user= 'custmer'; did you mean 'customer'?"),
        (
            ("--user", "customer", "--time", "order_at"),
            "unknown column for time= 'order_at'; did you mean 'ordered_at'?",
        ),
        ((), "unknown column for user= 'user'; did you mean 'customer'? choose from customer, ordered_at"),
    ],
)
def test_run_refuses_wrong_columns(shop, tmp_path, words, message):
    done = bayesdecay("run", shop.log, *words, "--out", tmp_path / "out")
    assert done.code == 2
    assert message in done.err
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.csv", None, "no file matches"),
        ("empty.csv", "", "empty.csv is empty; expected at least one row"),
        ("head.csv", "customer,ordered_at\n", "holds no rows; expected at least one row"),
        ("gap.csv", "customer,ordered_at\n1,2024-01-01\n,2024-01-02\n", "user"),
        ("odd.csv", "customer,ordered_at\n1,2024-01-01\n2,yesterday\n", "yesterday"),
    ],
)
def test_run_refuses_the_log(shop, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    before = files(tmp_path)
    done = bayesdecay("run", tmp_path / name, *shop.columns, "--out", tmp_path / "out")
    assert done.code == 2
    assert message in done.err
    assert files(tmp_path) == before


def test_run_that_did_not_converge_writes_nothing(shop, tmp_path):
    old = tmp_path / "out" / "scores.parquet"
    old.parent.mkdir()
    old.write_text("of an earlier run", encoding="utf-8")
    few = ("--draws", 5, "--tune", 5, "--chains", 2, "--random-seed", 1)
    done = bayesdecay("run", *shop.counting, *few, "--out", tmp_path / "out")
    assert done.code == 3
    assert "the fit did not converge" in done.err
    assert "raise draws" in done.err
    assert "add --allow-unconverged" in done.err
    assert "allow_unconverged" not in done.err
    assert files(tmp_path) == {"out", "out/scores.parquet"}
    assert old.read_text(encoding="utf-8") == "of an earlier run"


def test_out_that_is_a_file_is_refused_at_once(shop, tmp_path):
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    done = bayesdecay("run", *shop.counting, "--out", tmp_path / "out")
    assert (done.code, done.out) == (2, "")
    assert "is a file; give a folder" in done.err
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


def test_wrong_files_are_refused(shop, tmp_path):
    for words, message in (
        (("fit", shop.log, "--out", tmp_path / "x.nc"), "is not a history"),
        (("fit", tmp_path / "no.parquet", "--out", tmp_path / "x.nc"), "no history at"),
        (("fit", shop.out / "decay.nc", "--out", tmp_path / "x.nc"), "cannot be read as a history in Parquet"),
        (("score", shop.log, "--decay", shop.log, "--out", tmp_path / "x.csv"), "cannot be read as a saved fit"),
        (("score", shop.log, "--decay", tmp_path / "no.nc", "--out", tmp_path / "x.csv"), "no fit at"),
        (("score", shop.log, "--decay", shop.out / "decay.nc", "--out", tmp_path / "x.txt"), ".parquet or .csv"),
        (("check", *shop.counting, "--decay", shop.out / "reactivation.nc"), "holds no decay fit"),
        (("summarize", *shop.counting, "--out", tmp_path / "no" / "x.parquet"), "there is no folder"),
    ):
        done = bayesdecay(*words)
        assert done.code == 2, words
        assert message in done.err
        assert "Traceback" not in done.err
    assert files(tmp_path) == set()
