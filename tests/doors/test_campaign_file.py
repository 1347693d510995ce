"""Campaigns by file and risk by option: the same plan as in Python, refusals with their remedy, who is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

import bayesdecay as bd
from bayesdecay.doors import cli
from bayesdecay.doors.campaign_file import read_campaign
from tests.doors.conftest import AT, LAPSED, SEED, bayesdecay, files

CAMPAIGN = """
value = 20.0
budget = 8
control = 0.1
exclude = "out.txt"

[offers.e-mail]
cost = 0.1
effect = "normal(0.2, 0.1)"

[offers.coupon]
cost = 0.2
cost_if_returns = 4
effect = "normal(0.6, 0.3)"
capacity = 30
"""


@pytest.fixture
def told(monkeypatch) -> list:
    """Catch what would be done."""
    jobs: list = []
    monkeypatch.setattr(cli, "_do", lambda log, job, out: jobs.append(job))
    return jobs


@pytest.fixture
def lapsed(shop) -> list[str]:
    """Ids of candidates, as the log has them."""
    log = bd.read_events(shop.log, user="customer", time="ordered_at")
    return bd.snapshots(log, cutoffs=AT, horizon="30d", lapsed_after=LAPSED, observed_until=AT).table["user"].tolist()


def described(tmp_path, text: str, name: str = "campaign.toml"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_campaign(tmp_path / name, horizon="30d", user="customer")


def choose(shop, *words):
    fits = ("--decay", shop.out / "decay.nc", "--reactivation", shop.out / "reactivation.nc")
    return bayesdecay("choose", *shop.counting, *fits, "--random-seed", SEED, *words)


# --- what a file says ---


def test_a_file_says_what_python_says(tmp_path):
    (tmp_path / "out.txt").write_text("17\n24\n", encoding="utf-8")
    found = described(tmp_path, CAMPAIGN)
    campaign = found.campaign
    assert (campaign.value, campaign.budget, campaign.control, campaign.horizon) == (20.0, 8, 0.1, "30d")
    assert list(campaign.offers) == ["e-mail", "coupon"]
    coupon = campaign.offers["coupon"]
    assert (coupon.cost, coupon.cost_if_returns, coupon.capacity) == (0.2, 4, 30)
    assert coupon.effect == bd.Effect.normal(0.6, 0.3)
    assert found.exclude == ("17", "24")
    few = described(tmp_path, "exclude = [17, '0024']\nvalue = 2\n[offers.call]\ncost = 1\neffect = 0.3")
    assert few.exclude == ("17", "0024")
    assert few.campaign.budget is None
    assert few.campaign.offers["call"].effect == bd.Effect.point(0.3)


def test_the_file_of_the_readme_can_be_read(tmp_path):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"```toml\n(.*?)```", readme, flags=re.DOTALL)
    (tmp_path / "opted-out.txt").write_text("17\n", encoding="utf-8")
    found = described(tmp_path, told)
    assert list(found.campaign.offers) == ["e-mail", "coupon"]
    assert found.exclude == ("17",)


OFFER = "\n[offers.mail]\ncost = 0.1\neffect = 'none'\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("value = = 2", "campaign.toml cannot be read as TOML: Invalid value (at line 1, column 9)"),
        ("valeu = 2" + OFFER, "campaign.toml: unknown key 'valeu'; did you mean 'value'? choose from budget, control"),
        ("value = 2\nrisk = 'neutral'" + OFFER, "risk is no key of this file; it is given by the option --risk"),
        ("value = 2", "campaign.toml: offers is missing; describe one at least, as in [offers.e-mail]"),
        ("value = 2\noffers = {}", "campaign.toml: offers is empty; describe one at least"),
        (OFFER, "campaign.toml: value is missing; say what one user who returns is worth, as in value = 20"),
        ("value = '20'" + OFFER, "campaign.toml: value is '20'; write a number, such as 0.5"),
        ("value = true" + OFFER, "campaign.toml: value is True; write a number"),
        ("value = 0" + OFFER, "campaign.toml: value is 0, so no contact can pay"),
        ("value = 2\nbudget = -5" + OFFER, "campaign.toml: budget is -5; give 0 or more"),
        ("value = 2\ncontrol = 1.5" + OFFER, "campaign.toml: control is 1.5; give a share of at least 0 and below 1"),
        ("cost = 2" + OFFER, "cost stands in the wrong place; it belongs to an offer, below its [offers.NAME]"),
        (OFFER + "value = 2", "offers.mail: value stands in the wrong place; it belongs to the top, above the first"),
        ("value = 2\n[offers]\ncost = 0.5", "offers.cost is 0.5; write a table, such as [offers.e-mail]"),
        ("value = 2" + OFFER + "capcity = 3", "offers.mail: unknown key 'capcity'; did you mean 'capacity'?"),
        ("value = 2" + OFFER + "capacity = 3.5", "offers.mail: capacity is 3.5; write a whole number, such as 300"),
        ("value = 2" + OFFER + "cost_if_returns = -1", "offers.mail: cost_if_returns is -1; give 0 or more"),
        ("value = 2\n[offers.mail]\ncost = 1", "offers.mail: effect is missing; say what it is assumed to do"),
        ("value = 2\n[offers.mail]\neffect = 1", "offers.mail: cost is missing; say what one contact costs"),
        (
            "value = 2\n[offers.m]\ncost = 1\neffect = 'norml(1, 2)'",
            "offers.m: unknown effect distribution 'norml'; did",
        ),
        (
            "value = 2\nexclude = 3" + OFFER,
            "campaign.toml: exclude is 3; write the path of a file in quotes, or a list",
        ),
        (
            "value = 2\nexclude = [1.5]" + OFFER,
            "campaign.toml: an id in exclude is 1.5; write a whole number, or a text",
        ),
        ("value = 2\nexclude = 'no.txt'" + OFFER, "campaign.toml: exclude = 'no.txt': there is no file"),
        ("value = 2\nexclude_column = 'id'" + OFFER, "exclude_column is the column of a file; give that too"),
        (
            "value = 2\nexclude = 'users.csv'" + OFFER,
            "did you mean 'custmer'? choose from custmer, why; tell the column of ids by exclude_column = '...'",
        ),
    ],
)
def test_refusals_name_the_file_the_key_and_the_remedy(tmp_path, text, message):
    (tmp_path / "users.csv").write_text("custmer,why\n17,post\n", encoding="utf-8")
    with pytest.raises((ValueError, TypeError, OSError)) as refused:
        described(tmp_path, text)
    assert message in str(refused.value)
    assert str(tmp_path / "campaign.toml") in str(refused.value)


# --- what the commands make of it ---


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cost", 1), "describes the whole campaign; leave out --cost, or the file"),
        (("--value", 1, "--budget", 2), "describes the whole campaign; leave out --value and --budget, or the file"),
        (("--risk", "cvr(0.9, 0.5)"), "unknown risk appetite 'cvr'; did you mean 'cvar'?"),
        (("--risk", "cvar(0.9)"), "risk 'cvar(0.9)' cannot be read; write 'neutral', 'cvar(level, weight)' or"),
        (("--risk", "cvar(0.9, 7)"), "risk: weight is 7.0; give 0 (expected profit only) to 1 (CVaR only)"),
        (("--campaign", "nowhere.toml"), "--campaign nowhere.toml: there is no such file"),
    ],
)
def test_run_refuses_before_any_work(shop, tmp_path, words, message):
    (tmp_path / "c.toml").write_text("value = 20" + OFFER, encoding="utf-8")
    file = () if "--campaign" in words else ("--campaign", tmp_path / "c.toml")
    done = bayesdecay("run", shop.log, *shop.columns, *file, *words, "--out", tmp_path / "out")
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert files(tmp_path) == {"c.toml"}


def test_run_passes_file_risk_and_exclusions_on(shop, told, tmp_path, lapsed):
    (tmp_path / "out.txt").write_text("\n".join([*lapsed[:3], "nobody"]), encoding="utf-8")
    (tmp_path / "c.toml").write_text(CAMPAIGN, encoding="utf-8")
    words = ("--campaign", tmp_path / "c.toml", "--risk", "cvar(0.9, 0.25)", "--horizon", "14d,30d")
    assert bayesdecay("run", shop.log, *shop.columns, *words, "--out", tmp_path / "out").code == 0
    (job,) = told
    assert job.risk == bd.Risk.cvar(level=0.9, weight=0.25)
    assert set(job.campaign.exclude) == set(lapsed[:3])
    assert job.campaign.horizon == "30d"
    assert "3 users of the log may not be contacted; 1 of the ids are of no user of the log" in job.notes[0]


def test_choose_by_file_is_the_plan_of_python(shop, tmp_path, lapsed):
    left_out = pd.read_csv(shop.out / "audience.csv")["user"].tolist()[:5]  # else the first to be contacted
    pd.DataFrame({"id": [*left_out, "x", "y"], "why": "post"}).to_csv(tmp_path / "out.csv", index=False)
    text = CAMPAIGN.replace('"out.txt"', '"out.csv"\nexclude_column = "id"')
    (tmp_path / "c.toml").write_text(text, encoding="utf-8")
    words = ("--campaign", tmp_path / "c.toml", "--risk", "max_loss_probability(0.3)", "--horizon", "30d")
    done = choose(shop, *words, "--out", tmp_path / "audience.csv")
    assert done.code == 0, done.err
    assert "5 users of the log may not be contacted; 2 of the ids are of no user of the log, such as 'x'" in done.out
    assert "a probability of a loss of at most 0.3" in done.out

    log = bd.read_events(shop.log, user="customer", time="ordered_at")
    decay, fit = bd.load(shop.out / "decay.nc"), bd.load(shop.out / "reactivation.nc")["30d"]
    now = bd.snapshots(log, cutoffs=AT, horizon="30d", lapsed_after=LAPSED, observed_until=AT)
    mail = bd.Offer(cost=0.1, effect=bd.Effect.normal(0.2, 0.1))
    coupon = bd.Offer(cost=0.2, cost_if_returns=4, effect=bd.Effect.normal(0.6, 0.3), capacity=30)
    campaign = bd.Campaign(
        offers={"e-mail": mail, "coupon": coupon}, value=20, budget=8, control=0.1, exclude=left_out, horizon="30d"
    )
    risk = bd.Risk.max_loss_probability(0.3)
    p = fit.draws(now, decay, draws=200, random_seed=SEED)
    plan = bd.choose(p, campaign, risk=risk, random_seed=SEED)
    audience, control = (pd.read_csv(tmp_path / name) for name in ("audience.csv", "audience-control.csv"))
    assert audience[["user", "offer"]].to_numpy().tolist() == plan.audience[["user", "offer"]].to_numpy().tolist()
    assert set(audience["offer"]) == {"e-mail", "coupon"}
    assert audience["cost"].sum() <= 8 + 1e-9
    assert (audience["offer"] == "coupon").sum() <= 30
    told = {"e-mail": "e-mail is assumed to multiply", "coupon": "coupon is assumed to multiply"}
    assert all(row.assumption.startswith(told[row.offer]) for row in audience.itertuples())
    assert control["user"].tolist() == plan.control["user"].tolist()
    assert len(control) == round(0.1 * (len(lapsed) - 5))
    assert not set(control["user"]) & set(audience["user"])
    assert not (set(control["user"]) | set(audience["user"])) & set(left_out)
    assert files(tmp_path) == {"c.toml", "out.csv", "audience.csv", "audience-control.csv"}


def test_ids_that_are_all_strangers_are_refused(shop, tmp_path):
    (tmp_path / "out.txt").write_text("17\n24\n", encoding="utf-8")  # the log writes 0017, "Jo"
    (tmp_path / "c.toml").write_text(CAMPAIGN, encoding="utf-8")
    done = choose(shop, "--campaign", tmp_path / "c.toml", "--out", tmp_path / "audience.csv")
    assert done.code == 2
    assert "none of the 2 ids is a user of the log, so nobody would be left out" in done.err
    assert "such as '17': write them alike" in done.err
    assert files(tmp_path) == {"c.toml", "out.txt"}
