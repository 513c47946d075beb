"""The example page in a real Chromium."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright

from grandopt.workflows.exporting.wasm import write_wasm
from tests.exporting.wasm.conftest import exported
from tests.recurrent.networks import LstmPolicy, observations, whole
from tests.recurrent.networks import program as recurrent
from tests.small_agents import Policy, draw, expected, program

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"skipped: none of {', '.join(PROGRAMS)} is installed")
    with sync_playwright() as playwright:
        # Inside a container there is no user namespace for Chromium's own sandbox.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of the folder's files."""
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def numbers(text: str) -> list[float]:
    return [float(word) for word in text.partition(":")[2].split()]


@pytest.mark.parametrize("vectors", [True, False])
def test_the_page_runs_the_agent(
    chromium: Browser, served: str, unchecked: None, exports: Path, tmp_path: Path, vectors: bool
) -> None:
    of = program(Policy)
    exported(of, exports, tmp_path).rename(tmp_path / "out")
    page = chromium.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    if not vectors:
        page.add_init_script("WebAssembly.validate = () => false")
    page.goto(f"{served}/out/example.html")
    page.wait_for_function("document.getElementById('name').textContent === 'policy'")
    page.wait_for_function("document.getElementById('run').onclick !== null")
    inputs = draw(of, 1)
    page.fill("#numbers", " ".join(f"{number:.9g}" for number in inputs[0].reshape(-1)))
    page.click("#run")
    shown = numbers(page.inner_text("#outputs"))
    np.testing.assert_allclose(shown, expected(of, inputs)[0][0], rtol=1e-5, atol=1e-6)
    assert said == []
    module = "agent.wasm" if vectors else "agent.scalar.wasm"
    assert [name for name in asked if not name.startswith(",")] == ["example.html", "agent.js", module]
    page.close()


def test_the_page_keeps_the_state(chromium: Browser, served: str, unchecked: None, tmp_path: Path) -> None:
    write_wasm(recurrent(LstmPolicy), tmp_path / "out")
    page = chromium.new_page()
    page.goto(f"{served}/out/example.html")
    page.wait_for_function("document.getElementById('run').onclick !== null")
    observed = observations(3, 1)
    shown = []
    for row in observed:
        page.fill("#numbers", " ".join(f"{number:.9g}" for number in row[0]))
        page.click("#run")
        shown.append(numbers(page.inner_text("#outputs")))
    np.testing.assert_allclose(shown, whole(LstmPolicy, observed)[:, 0], rtol=0, atol=2e-6)
    page.close()
