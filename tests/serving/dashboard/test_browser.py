"""The page in a real Chromium, beside an engine that answers."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.monitoring.alerts import Rule
from grandopt.runtime.monitoring.monitor import Monitor, MonitorSettings
from grandopt.serving.dashboard.pages import dashboard_routes
from grandopt.serving.http.protocol_routes.protocol import protocol_routes
from grandopt.serving.http.server import HttpOptions, HttpServer
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.access import Access
from grandopt.serving.repository.repository import Repository
from tests.runtime.engine.agents import line
from tests.serving.agents import serve

pytestmark = pytest.mark.slow

TOKEN = "let me in"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
HOSTILE = "<img src=x onerror=\"document.title='taken over'\"><script>alert(1)</script>"


class _Shown(DataPlane):
    """With an agent that could not be loaded, of a name that no page should believe."""

    def __init__(self, engine: Engine, repository: Repository) -> None:
        super().__init__(engine, repository)
        self.changes: list[str] = []

    def index(self, ready: bool = False) -> list[dict[str, Any]]:
        broken = {"name": HOSTILE, "version": "", "state": "UNAVAILABLE", "reason": HOSTILE}
        return [*super().index(ready), broken]

    async def load(self, model: str, parameters: dict[str, Any]) -> None:
        self.changes.append(f"load {model}")

    async def unload(self, model: str, parameters: dict[str, Any]) -> None:
        self.changes.append(f"unload {model}")


class Site:
    """A page in a browser, the server that it follows, and what it said and asked for."""

    def __init__(self, server: HttpServer, plane: _Shown, browser: Browser) -> None:
        self.server, self.plane, self.browser = server, plane, browser
        (self.address,) = server.addresses
        self.said: list[str] = []
        self.asked: list[str] = []

    async def open(self, width: int = 1280, scheme: Any = "light") -> Page:
        page = await self.browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        await page.goto(self.address)
        return page

    async def opened(self, **given: Any) -> Page:
        page = await self.open(**given)
        await expect(page.locator("#overview table")).to_be_visible()
        return page


def visit(body: Callable[[Site], Awaitable[None]], *, guarded: bool = False, busy: bool = True) -> None:
    """`body` at a server whose agent "gate" is asked all the time."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"skipped: none of {', '.join(PROGRAMS)} is installed")

    async def main(folder: Path) -> None:
        rules = [Rule("memory", "resident", 1e6, severity="critical")]
        monitor = Monitor(MonitorSettings(interval_s=0.2, window_s=2.0, keep=300), rules=rules)
        engine = Engine(monitor=monitor)
        await engine.initialize("standard", monitor_every_s=0.2)
        async with engine, async_playwright() as playwright:
            repository = Repository(folder, engine, mode="explicit")
            await repository.start()
            plane = _Shown(engine, repository)
            serve(repository, "gate", line())
            shadow = engine.shadow("gate", line(2.0), share=1.0, effort=0.1)
            routes = dashboard_routes(plane, shadows=lambda: [shadow], every_s=0.2)
            options = HttpOptions(port=0, access=Access(TOKEN, for_all=guarded))
            server = HttpServer(plane, options, [*protocol_routes(plane), *routes])
            await server.start()
            asking = asyncio.create_task(_ask(engine)) if busy else None
            # Inside a container there is no user namespace for Chromium's own sandbox.
            browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            try:
                await asyncio.wait_for(body(Site(server, plane, browser)), 50)
            except BaseException:
                await browser.close()
                await server.stop(0.0)
                raise
            await browser.close()
            for _ in range(100):
                if not server.service.connections:
                    break
                await asyncio.sleep(0.05)
            assert not server.service.connections
            await server.stop()
            if asking is not None:
                asking.cancel()
                with suppress(asyncio.CancelledError):
                    await asking

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))


async def _ask(engine: Engine) -> None:
    rng = np.random.default_rng(0)
    while True:
        rows = rng.standard_normal((int(rng.integers(5, 60)), 4)).astype(np.float32)
        await asyncio.gather(*[engine.infer("gate", row) for row in rows])
        await asyncio.sleep(0.01)


def test_values_change_under_load_and_nothing_is_complained_of(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        page = await site.opened()
        answered = page.locator("#agent-gate summary").first
        await answered.click()
        cell = page.locator("#agent-gate details td.number").first
        seen = set()
        for _ in range(40):
            seen.add(await cell.inner_text())
            if len(seen) >= 4:
                break
            await asyncio.sleep(0.2)
        assert len(seen) >= 4
        drawn = page.locator("#agent-gate svg.chart path.line-0")
        paths = {await drawn.nth(1).get_attribute("d")}
        await asyncio.sleep(0.6)
        paths.add(await drawn.nth(1).get_attribute("d"))
        assert len(paths) == 2
        await expect(page.locator("#connection")).to_contain_text("Ready.")
        await expect(page.locator("#alerts")).to_contain_text("memory (critical, firing)")
        await expect(page.locator("#shadows")).to_contain_text("Promote")
        await page.screenshot(path=tmp_path / "page.png", full_page=True)
        assert (tmp_path / "page.png").stat().st_size > 50_000
        assert site.said == []
        assert {url.removeprefix(site.address).split("/")[1] for url in site.asked} == {
            "",
            "dashboard",
            "events",
        }

    visit(body)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_desktop_in_both_schemes(scheme: str) -> None:
    async def body(site: Site) -> None:
        papers = set()
        for width in (375, 1280):
            page = await site.opened(width=width, scheme=scheme)
            for summary in await page.locator("summary").all():
                await summary.click()
            await asyncio.sleep(0.5)
            assert await page.evaluate(OVERFLOW) == 0
            papers.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
            await page.close()
        assert papers == {"rgb(255, 255, 255)" if scheme == "light" else "rgb(18, 22, 28)"}
        assert site.said == []

    visit(body)


def test_a_fresh_page_shows_what_was_before_it() -> None:
    async def body(site: Site) -> None:
        for _ in range(100):
            if len(site.plane.engine.monitor.history.series("gate", "rate").times) >= 12:
                break
            await asyncio.sleep(0.1)
        page = await site.opened()
        path = await page.locator("#agent-gate svg.chart path.line-0").nth(1).get_attribute("d")
        assert path is not None
        assert path.count("L") >= 8

    visit(body)


def test_what_the_server_names_is_text() -> None:
    async def body(site: Site) -> None:
        page = await site.opened()
        await expect(page.locator("#models")).to_contain_text("<script>alert(1)</script>")
        assert await page.locator("main img, main script").count() == 0
        assert await page.title() == "grandopt"
        assert site.said == []

    visit(body)


def test_changes_take_the_token_which_is_kept_nowhere() -> None:
    async def body(site: Site) -> None:
        page = await site.opened()
        status = page.locator("#models [role=status]")
        load = page.get_by_role("button", name="Load again")
        await load.click()
        await expect(status).to_contain_text("gate was not loaded: this call needs the server's token")
        await page.get_by_label("Token for changes").fill(TOKEN)
        await load.click()
        await expect(status).to_have_text("gate was loaded.")
        unload = page.get_by_role("button", name="Unload")
        await unload.click()
        await page.get_by_role("button", name="Really unload?").click()
        await expect(status).to_have_text("gate was unloaded.")
        await page.get_by_role("button", name="Promote").click()
        await page.get_by_role("button", name="Really promote").click()
        await expect(status).to_have_text("gate's candidate was promoted.")
        assert site.plane.changes == ["load gate", "unload gate"]
        kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
        assert TOKEN not in json.loads(json.dumps(await page.evaluate(kept)))
        assert [word for word in site.said if "401" not in word] == []

    visit(body)


def test_a_server_that_asks_everybody_for_a_token_is_followed_with_it() -> None:
    async def body(site: Site) -> None:
        page = await site.open()
        field = page.get_by_label("This server asks for a token")
        await field.fill("wrong")
        await page.get_by_role("button", name="Follow").click()
        await expect(page.locator("#connection")).to_contain_text("with a token only")
        await field.fill(TOKEN)
        await field.press("Enter")
        await expect(page.locator("#overview table")).to_be_visible()

    visit(body, guarded=True)


def test_a_connection_that_is_lost_is_told_and_found_again() -> None:
    async def body(site: Site) -> None:
        page = await site.opened()
        for connection in list(site.server.service.connections):
            connection.abort()
        await expect(page.locator("#connection")).to_contain_text("Not connected")
        await expect(page.locator("#connection")).to_contain_text("The figures are those of")
        await expect(page.locator("#connection")).to_contain_text("Ready.")

    visit(body)


def test_by_keyboard_and_for_who_does_not_see() -> None:
    async def body(site: Site) -> None:
        page = await site.opened()
        drawn = await page.locator("svg.chart").count()
        assert drawn == await page.locator("svg.chart[role=img][aria-label]").count() >= 5
        label = await page.locator("#agent-gate svg.chart").first.get_attribute("aria-label")
        assert label is not None
        assert label.startswith("Latency over the last")
        assert "p99.9" in label
        reached = []
        for _ in range(12):
            await page.keyboard.press("Tab")
            reached.append(
                await page.evaluate(
                    "document.activeElement.tagName + ' ' + document.activeElement.textContent"
                )
            )
        assert any(one.startswith("A gate") for one in reached)
        assert any(one.startswith("BUTTON Load") for one in reached)
        await page.locator("#agent-gate summary").nth(1).focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#agent-gate details").nth(1)).to_contain_text("given in memory")
        headers = "[...document.querySelectorAll('th')].every(e => e.scope === 'col')"
        assert await page.evaluate(headers)

    visit(body)
