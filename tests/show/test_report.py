"""The report: whole, offline, escaped, honest about what is missing or broken, and readable in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr

from bayesdecay.decide import Campaign, choose
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.scoring import ScoreOptions, Scores
from bayesdecay.show.checks import check_forecast, later_activity
from bayesdecay.show.foreseen import in_numbers
from bayesdecay.show.report import ReportContent, render_report, write_report
from bayesdecay.show.sections.method import method_section
from tests.show import made

EVIL = "<script>alert('x')</script>\"'&amp;"
VOID = {"meta", "br", "img", "link", "input", "hr"}
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


class Page(HTMLParser):
    """Collects what the tests look at, and complains of tags that do not close."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.tags, self.links, self.text = [], [], Counter(), [], []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        named = dict(attrs)
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named[name] for name in ("href", "src", "xlink:href", "action", "data") if name in named]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)

    @classmethod
    def of(cls, html):
        page = cls()
        page.feed(html)
        page.close()
        assert page.open == []
        return page

    @property
    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text)).replace("\N{NO-BREAK SPACE}", " ")


class Coefficients:
    """A stand-in for a reactivation fit, which this room only reads."""

    def __init__(self, verdict=made.GOOD):
        self.verdict = verdict

    def summary(self, *, ci_prob=0.9, allow_unconverged=False):
        assert allow_unconverged
        rows = {"intercept": (-2.0, -2.2, -1.8, np.nan), "slope[log1p(recency)]": (-0.7, -0.9, -0.5, 0.4)}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "5 %", "95 %", "unit"])


@pytest.fixture(scope="module")
def content():
    """A whole run; the user who comes first in every list has a name that no page should run."""
    log, history = made.shop(800)
    best = int(history.table["user"][int(np.argmax(history.table["n"].to_numpy()))].as_py())
    log, history = made.shop(800, rename={best: EVIL})
    assert EVIL in history.table["user"].to_pylist()
    fit = made.fit(history)
    scores = fit.score(history, options=ScoreOptions(random_seed=1), draws=100)
    silent = np.concatenate([block.T - block.last for block in history.blocks()])
    lapsed = (silent >= 30) | (history.table["user"].to_numpy(zero_copy_only=False) == EVIL)
    p = np.where(lapsed, scores.table["p_return_30d"].to_numpy(), np.nan)
    table = scores.table
    for name, factor in (
        ("p_reactivation_30d", 1.0),
        ("p_reactivation_30d_lower", 0.5),
        ("p_reactivation_30d_upper", 1.2),
    ):
        table = table.append_column(name, pa.array(np.minimum(p * factor, 1.0), from_pandas=True))
    users = table["user"].to_numpy(zero_copy_only=False)[lapsed]
    rng = np.random.default_rng(1)
    draws = np.clip(rng.beta(3, 4, size=(60, users.size)) * (users == EVIL).clip(0.3, 1), 0, 1)
    drawn = xr.DataArray(draws, dims=("sample", "user"), coords={"user": users})
    later = later_activity(log, history, 80, periods=2)
    return ReportContent(
        title=f"Report on {EVIL}",
        log=log,
        history=history,
        decay=fit,
        scores=Scores(table=table, ci_prob=scores.ci_prob),
        reactivation={"30d": Coefficients()},
        plan=choose(drawn, Campaign(cost=0.5, value=10.0, budget=50.0, horizon="30d"), random_seed=1),
        check=check_forecast(fit.population(100), history, later, random_seed=1),
        settings={"log file": EVIL, "horizons": "30d, 90d"},
        lapsed_after="30d",
        random_seed=1,
    )


@pytest.fixture(scope="module")
def page(content):
    return render_report(content)


def bare(content):
    """The same run without anything that may be missing."""
    table = content.scores.table.select(content.scores.table.column_names[:10])
    return replace(
        content, scores=Scores(table=table, ci_prob=0.9), reactivation={}, plan=None, check=None, settings={}
    )


def test_nothing_is_fetched(page):
    parsed = Page.of(page)
    assert [link for link in parsed.links if not link.startswith("#")] == []
    assert re.findall(r"url\(\s*['\"]?(?!#)", page) == []
    assert "@import" not in page
    assert re.findall(r"https?://|//cdn|data:", page) == []
    assert not {"script", "link", "iframe", "object", "img"} & set(parsed.tags)


def test_tags_close_and_ids_are_unique(page):
    parsed = Page.of(page)
    assert [name for name, times in Counter(parsed.ids).items() if times > 1] == []
    assert {link[1:] for link in parsed.links} <= set(parsed.ids)
    used = set(re.findall(r"url\(#([^)]+)\)", page)) | set(re.findall(r'aria-labelledby="([^"]+)"', page))
    assert used <= set(parsed.ids)


def test_what_the_data_hold_is_text(page):
    parsed = Page.of(page)
    assert "<script" not in page
    assert parsed.words.count(EVIL) >= 5  # title, heading, settings, lists, a curve's caption
    assert "&lt;script&gt;" in page


def test_figures_and_tables_can_be_read_aloud(page):
    parsed = Page.of(page)
    figures = re.findall(r"<figure.*?</figure>", page, flags=re.DOTALL)
    assert len(figures) == parsed.tags["figure"] >= 10
    for figure in figures:
        assert re.search(r'role="img" aria-label="[^"]{20,}"', figure)
        assert re.search(r"<figcaption>[^<]{15,}</figcaption>", figure)
    assert parsed.tags["table"] >= 10
    assert page.count('<th scope="row"') >= parsed.tags["table"]
    assert '<html lang="en">' in page


def test_summary_says_what_matters(content, page):
    words = Page.of(page).words
    summary = words[words.index("Summary") : words.index("The log as it was read")]
    total = len(content.history)
    assert f"{total} users had been active" in summary
    assert re.search(r"Within 30 days, \d+ \[\d+, \d+\] of all users are expected", summary)
    assert re.search(r"A visit restores 60.\d % \[\d+.\d, \d+.\d\] of lost interest", summary)
    assert f"Contact {content.plan.audience.shape[0]} of" in summary
    assert "ASSUMED to multiply the odds of returning" in summary
    assert "The sampler converged for every fit" in summary
    for sentence in content.check.verdict:
        assert sentence.replace("\N{NO-BREAK SPACE}", " ") in summary
    assert "NOT CONVERGED" not in words


def test_no_number_is_longer_than_people_read(page):
    visible = re.sub(r"<(style|svg).*?</\1>", "", page, flags=re.DOTALL)
    assert re.findall(r"\d\.\d{7,}", visible) == []
    assert "nan" not in Page.of(visible).words.split()


def test_sections_without_content_say_so(content):
    words = Page.of(render_report(bare(content))).words
    assert "No campaign was planned" in words
    assert "No held-out check was made" in words
    assert "No reactivation model was fitted" in words
    assert "How such statements do was not checked." in words


def test_scores_without_a_horizon_are_reported_too(content):
    few = content.scores.table.select(content.scores.table.column_names[:10])
    assert not [name for name in few.column_names if "p_return" in name]
    assert "The scores hold no horizon" in Page.of(render_report(bare(content))).words


def test_an_unconverged_fit_is_marked_on_top(content):
    broken = replace(content, decay=made.fit(content.history, verdict=made.BAD))
    page = render_report(broken)
    top = page[: page.index("<main>")]
    assert 'class="box bad"' in top
    assert "NOT CONVERGED: do not act upon the numbers" in top
    assert "R-hat is 1.200" in top
    assert "did NOT converge for the decay model" in Page.of(page).words
    of_returns = replace(content, reactivation={"30d": Coefficients(made.BAD)})
    assert "The reactivation model (30d): R-hat is 1.200" in Page.of(render_report(of_returns)).words


def test_remarks_stand_above_the_summary(content):
    told = render_report(replace(content, notes=("P(reactivation) <b> was not learned",)))
    top = told[: told.index("<main>")]
    assert 'class="box remark"' in top
    assert "P(reactivation) &lt;b&gt; was not learned" in top
    assert "Remarks on this run" not in render_report(content)


def test_good_and_bad_news_have_signs_of_their_own(content, page):
    for finding in content.check.findings:
        assert (
            f"{'✓' if finding.good else '✗'} {finding.text}".replace("\N{NO-BREAK SPACE}", " ") in Page.of(page).words
        )


def test_priors_come_with_their_reasons(page):
    words = Page.of(page).words
    assert "a visit restores anything from nothing to all of the lost interest" in words
    assert "groups' typical half-lives differ" not in words  # there are no groups


def test_the_same_run_gives_the_same_page(content, page):
    assert render_report(content) == page


def test_report_is_written_whole_or_not_at_all(content, page, tmp_path):
    path = write_report(tmp_path / "report.html", content)
    assert path.read_text(encoding="utf-8") == page
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_report(tmp_path / "nowhere" / "report.html", content)


def test_scores_of_other_users_are_refused(content):
    with pytest.raises(ValueError, match="799 users have scores, the history has 800"):
        replace(content, scores=Scores(table=content.scores.table.slice(1), ci_prob=0.9))


def test_a_plan_that_contacts_nobody_is_reported(content):
    p = xr.DataArray(np.full((20, 3), 0.01), dims=("sample", "user"), coords={"user": ["a", "b", "c"]})
    nobody = choose(p, Campaign(cost=5.0, value=1.0), random_seed=1)
    words = Page.of(render_report(replace(content, plan=nobody))).words
    assert "Contact nobody: no contact is expected to pay" in words
    assert "no budget given" in words


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1000, 500])
def test_browser_shows_the_page_without_scrolling_sideways(page, tmp_path, width):
    probe = "<script>document.title=document.documentElement.scrollWidth+'/'+window.innerWidth</script>"
    (tmp_path / "report.html").write_text(page + probe, encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
            *("--disable-background-networking", "--disable-component-update"),
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},1200",
            "--dump-dom",
            (tmp_path / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    shown, room = map(int, re.search(r"<title>(\d+)/(\d+)</title>", done.stdout).groups())
    assert 0 < shown <= room
    assert "alert('x')</script>" not in done.stdout.replace(probe, "")


def test_the_method_tells_what_all_users_share(content):
    tree = content.decay.idata.copy()
    values = {"sigma_walk": 0.02, "sigma_week": 0.15, "log_level": 0.0}
    shocks = xr.Dataset({name: (("chain", "draw"), np.full((4, 50), value)) for name, value in values.items()})
    tree["shocks"] = xr.DataTree(shocks)
    section = method_section(replace(content, decay=DecayFit(idata=tree)))
    assert "σ_walk is 0.02 [0.02, 0.02] and σ_week 0.15 [0.15, 0.15]" in section.parts[1].text
    without = method_section(content)
    assert len(section.parts) == len(without.parts) + 1


def test_the_method_tells_of_regulars_where_there_are_any(content):
    tree = content.decay.idata.copy()
    tree.attrs["model"] = json.dumps(json.loads(tree.attrs["model"]) | {"regulars": True})
    some = method_section(replace(content, decay=DecayFit(idata=tree)))
    assert "A share π of the users are regulars: their interest does not fade" in some.parts[1].text
    assert len(some.parts) == len(method_section(content).parts) + 1


def test_what_is_foreseen_is_told_beside_numbers_of_all_users(content):
    assert in_numbers(content.decay) == ""
    tree = content.decay.idata.copy()
    year = np.zeros((4, 50, 53))
    year[:, :, 3], year[:, :, 10] = np.log(1.6), np.log(0.4)
    values = {"sigma_walk": 0.02, "sigma_week": 0.15, "share_recurring": 0.7, "log_level": 0.0}
    values |= {"log_level_doubt": 0.0}
    shocks = xr.Dataset({name: (("chain", "draw"), np.full((4, 50), value)) for name, value in values.items()})
    tree["shocks"] = xr.DataTree(shocks.assign(log_season=(("chain", "draw", "week_ahead"), year)).assign_attrs(seed=1))
    factors = {"saturday": 1.2, "12-25": 0.0}
    model = json.loads(tree.attrs["model"]) | {"at": "2024-06-28 23:59:59.999999"}
    tree.attrs["model"] = json.dumps(model | {"calendar": {"factors": factors, "known": {}}})
    told = replace(content, decay=DecayFit(idata=tree))
    text = method_section(told).parts[2].text
    assert "ordinary for some weeks on end 70\N{NO-BREAK SPACE}% comes again" in text
    assert "the week from 20 July 2024 on (factor 1.60 [1.60, 1.60]) is expected to be the busiest" in text
    assert "the week from 7 September 2024 on (factor 0.40 [0.40, 0.40]) the quietest" in text
    page = render_report(told)
    assert "and seen; forecast with the season that was learned and 2 factors of the calendar." in page
    assert "interval; forecast with the season that was learned and 2 factors of the calendar" in page
    assert "saturday: 1.2; 12-25: 0" in page
