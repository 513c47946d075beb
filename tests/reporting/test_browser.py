"""The page in a real Chromium: no complaint on its console, every chart drawn, legible on every medium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.reporting.test_html import Elements

MEGABYTE = 1_000_000
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
DRAWN = "[...document.querySelectorAll('svg.chart')].filter(svg => svg.getBBox().width > 50).length"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CHARTS = 8 * 9 + 1
LAID_OUT = "document.querySelectorAll('.agent').forEach(agent => agent.style.contentVisibility = 'visible')"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"skipped: none of {', '.join(PROGRAMS)} is installed")
    with sync_playwright() as playwright:
        # Inside a container there is no user namespace for Chromium's own sandbox.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(eight_agents: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(eight_agents, encoding="utf-8")
    return path


def opened(
    browser: Browser, file: Path, width: int, scheme: Literal["light", "dark"] = "light"
) -> tuple[Page, list[str]]:
    """The page in a window of its own, and everything that it said and asked the network for."""
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: said.append(request.url))
    page.goto(file.as_uri())
    return page, said


def test_eight_agents_are_under_three_megabytes(eight_agents: str) -> None:
    assert Elements(eight_agents).count("section") == 8 + 3
    assert len(eight_agents.encode()) < 3 * MEGABYTE


@pytest.mark.parametrize("width", [360, pytest.param(768, marks=pytest.mark.slow), 1280])
def test_opens_whole_and_without_a_word(
    chromium: Browser, page_file: Path, width: int, tmp_path: Path
) -> None:
    page, said = opened(chromium, page_file, width)
    assert [word for word in said if not word.startswith("data:")] == [page_file.as_uri()]
    page.evaluate(LAID_OUT)  # what is out of sight, too
    assert page.evaluate(DRAWN) == CHARTS
    assert page.evaluate(OVERFLOW) == 0
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 50_000
    page.close()


def test_a_hostile_name_is_text(chromium: Browser, page_file: Path) -> None:
    page, said = opened(chromium, page_file, 1280)
    assert page.evaluate("document.querySelectorAll('script, img').length") == 0
    heading = page.inner_text("#agent-1 h2")
    assert "<script>alert(1)</script>" in heading
    assert [word for word in said if not word.startswith("data:")] == [page_file.as_uri()]
    page.close()


def test_dark_and_print_have_their_own_colours(chromium: Browser, page_file: Path, tmp_path: Path) -> None:
    page, _ = opened(chromium, page_file, 1280, scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('svg.chart text')).fill"
    dark = page.evaluate(f"[{paper}, {ink}]")
    page.emulate_media(media="print")
    printed = page.evaluate(f"[{paper}, {ink}]")
    page.emulate_media(media="screen", color_scheme="light")
    light = page.evaluate(f"[{paper}, {ink}]")
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    assert printed[0] == "rgb(255, 255, 255)"
    assert printed[1] != dark[1]
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    page.close()


def test_what_is_out_of_sight_is_there_once_it_is_reached(chromium: Browser, page_file: Path) -> None:
    page, _ = opened(chromium, page_file, 390)
    page.evaluate("document.querySelector('#agent-8').scrollIntoView()")
    chart = page.locator("#agent-8 svg.chart").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    assert box["width"] > 200
    assert page.locator("#agent-8 .advice li").count() > 0
    assert page.locator("#agent-8 svg[aria-label*='over its runs']").count() == 1
    page.close()


def test_a_printed_page_has_every_agent(chromium: Browser, page_file: Path) -> None:
    page, _ = opened(chromium, page_file, 1280)
    assert page.pdf(format="A4").count(b"/Type /Page\n") >= 1 + 2 * 8
    page.close()
