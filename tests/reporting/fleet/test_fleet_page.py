"""The page of a fleet: self-contained, hostile names as text, legible on every medium in a real Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from grandopt.reporting.fleet.fleet import Unread, fleet
from grandopt.reporting.html.fleet_page import render_fleet
from tests.reporting.conftest import HOSTILE
from tests.reporting.fleet.machines import NEW, mixed, on, source
from tests.reporting.history.records import agent
from tests.reporting.test_browser import OVERFLOW, chromium, opened
from tests.reporting.test_html import Elements

__all__ = ["chromium"]  # a fixture


@pytest.fixture(scope="module")
def page() -> str:
    hostile = {"identity": HOSTILE, "cpu_model": HOSTILE, "libraries": {"torch": HOSTILE}}
    sources = [
        *mixed(),
        source(HOSTILE, on(hostile, 1, agent(3.0, name=HOSTILE), grandopt=HOSTILE), on(NEW, 2, agent(9.0))),
    ]
    return render_fleet(fleet(sources, [Unread(HOSTILE, f"{HOSTILE}: not a report")]), "0.1.0")


def test_everything_is_there_and_hostile_names_are_text(page: str) -> None:
    found = Elements(page)
    assert found.count("script") == found.count("img") == 0
    assert not [name for _, attrs in found.tags for name in attrs if name.startswith("on")]
    assert "<script>alert(1)</script>" in found.text
    assert "49" not in found.text.replace("4.9", "")  # {{ 7 * 7 }} stays as it is
    assert found.text.count("Slower") == 1
    for text in ("AMD EPYC, Zen 4 (aaaaaaaa)", "30.0 µs", "Not everything could be read: 1 of 4 sources"):
        assert text in found.text


def test_it_asks_for_nothing_outside(page: str) -> None:
    found = Elements(page)
    links = [link for name in ("src", "href") for link in found.attribute(name)]
    assert links == ["data:,"]
    assert "default-src 'none'" in page


def test_a_fleet_of_one_report_says_that_there_is_nothing_to_compare() -> None:
    text = Elements(render_fleet(fleet([source("r", on(NEW, 1, agent(3.0)))]), "0.1.0")).text
    assert "no kind of machine ran an agent with two versions" in text
    assert "Nothing that these runs know of." in text


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_whole_and_without_a_word(
    chromium: Browser, page: str, tmp_path: Path, width: int, scheme: str
) -> None:
    file = tmp_path / "fleet.html"
    file.write_text(page, encoding="utf-8")
    shown, said = opened(chromium, file, width, "dark" if scheme == "dark" else "light")
    assert [word for word in said if not word.startswith("data:")] == [file.as_uri()]
    assert shown.evaluate(OVERFLOW) == 0
    shown.close()
