"""Files, folders and URLs of a fleet, and what is said of those that cannot be read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from grandopt.distributed.fleet_report import fetching
from grandopt.distributed.fleet_report.sources import read_sources
from grandopt.errors import InputError
from grandopt.reporting.history.store import append
from grandopt.reporting.report import write_report
from tests.reporting.fleet.machines import NEW, OLD, on
from tests.reporting.history.records import agent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The reports of two machines, and a broken one."""
    write_report(on(NEW, 1, agent(3.0)), tmp_path / "one" / "reports" / "optimization_report.json")
    append(tmp_path / "two" / "history.sqlite", on(OLD, 1, agent(20.0)))
    (tmp_path / "two" / "load_report.json").write_text("{", encoding="utf-8")
    (tmp_path / "two" / "other.json").write_text("{}", encoding="utf-8")
    return tmp_path


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Elsewhere(BaseHTTPRequestHandler):
    """Sends everybody to another scheme, or answers more than is read."""

    def do_GET(self) -> None:
        if self.path == "/long":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * 5000)
            return
        self.send_response(302)
        self.send_header("Location", "ftp://127.0.0.1/report.json")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    yield from _served(partial(Quiet, directory=str(folder)))


@pytest.fixture
def elsewhere() -> Iterator[str]:
    yield from _served(Elsewhere)


def _served(handler: object) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_folder_is_read_to_its_depth_and_a_broken_report_is_named(folder: Path) -> None:
    sources, unread = read_sources([str(folder)])
    assert [Path(source.place).name for source in sources] == ["optimization_report.json", "history.sqlite"]
    assert [one.place for one in unread] == [str(folder / "two" / "load_report.json")]
    assert "not a complete report" in unread[0].reason


def test_reports_and_histories_at_urls(web: str) -> None:
    named = [f"{web}/one/reports/optimization_report.json", f"{web}/two/history.sqlite"]
    sources, unread = read_sources(named)
    assert [source.records[0].agent.p50_us for source in sources] == [3.0, 20.0]
    assert unread == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/absent.json", "answers 404"),
        ("/two/load_report.json", "not a complete report"),
        ("/two/", "answers 501"),  # no server of ours: it knows no POST
    ],
)
def test_a_url_that_cannot_be_used_is_one_line(web: str, folder: Path, path: str, reason: str) -> None:
    _, unread = read_sources([str(folder / "one"), web + path])
    assert len(unread) == 1
    assert reason in unread[0].reason
    assert unread[0].reason.startswith(web + path)
    assert "\n" not in unread[0].reason


def test_no_redirect_leaves_http(elsewhere: str, folder: Path) -> None:
    _, unread = read_sources([str(folder / "one"), f"{elsewhere}/report.json"])
    assert "only http:// and https:// are fetched" in unread[0].reason


def test_more_than_is_read_is_refused(elsewhere: str) -> None:
    with pytest.raises(InputError, match="more than 1,000 bytes"):
        fetching.fetched(f"{elsewhere}/long", 1000)


def test_a_password_is_not_told(folder: Path) -> None:
    _, unread = read_sources([str(folder / "one"), "http://me:secret@127.0.0.1:9/report.json"])
    assert "secret" not in unread[0].place + unread[0].reason


@pytest.mark.parametrize("name", ["file:///etc/passwd", "ftp://host/x", "http://"])
def test_other_schemes_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="only http:// and https://"):
        read_sources([name])


def test_nothing_to_report_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no report"):
        read_sources([str(tmp_path)])
    with pytest.raises(InputError, match="cannot be read"):
        read_sources([str(tmp_path / "absent.json")])
