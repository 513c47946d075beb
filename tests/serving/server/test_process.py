"""`grandopt serve` as users run it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from grandopt.cli.app import main
from tests.serving.server.processes import ANY, address, alive, ask, children, observation, served

INFER = "/v2/models/policy/infer"


def test_it_serves_says_where_and_ends_at_a_signal(artifacts: Path, tmp_path: Path) -> None:
    uds = tmp_path / "s"
    with served(artifacts, "--uds", str(uds)) as (told, process):
        assert [row["state"] for row in told["models"]] == ["READY"]
        status, body = ask(address(told), "POST", INFER, observation())
        assert status == 200
        (output,) = json.loads(body)["outputs"]
        assert (output["shape"], len(output["data"])) == ([1, 3], 3)
        status, text = ask(address(told, "metrics"), "GET", "/metrics")
        assert b'nv_inference_request_success{model="policy",version="1"} 1' in text
        assert ask(address(told, "metrics"), "POST", INFER, observation())[0] == 404, "metrics alone"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(uds))
            client.sendall(b"GET /v2/health/ready HTTP/1.0\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
        process.terminate()
        _, said = process.communicate(timeout=30)
        assert (process.returncode, said) == (0, "")
        assert not uds.exists()


def test_once_says_what_would_be_served(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["serve", str(artifacts), "--once", "--http-port", "0", "--no-grpc", "--no-metrics"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("http     http://127.0.0.1:")
    assert lines[1] == "ready    policy 1"


def test_bad_input_is_one_line(artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").write_text("x", encoding="utf-8")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    for name in ("a", "b"):
        (tmp_path / "unserved" / name).mkdir(parents=True)
        (tmp_path / "unserved" / name / "file").write_text("x", encoding="utf-8")
    taken = socket.create_server(("127.0.0.1", 0))
    port = str(taken.getsockname()[1])
    ports = ["--http-port", "0", "--no-grpc", "--no-metrics"]
    good = str(artifacts)
    for words, said in (
        ([str(tmp_path / "none")], "none"),
        ([str(tmp_path / "empty")], "holds no artifact"),
        ([str(tmp_path / "foreign")], "holds no artifact"),
        ([good, "--uds", str(tmp_path / "file")], "file"),
        ([good, "--token-file", str(tmp_path / "none")], "No such file"),
        ([str(tmp_path / "unserved")], "not one agent can be served: a is not loaded: "),
        ([good, "--profile", "turbo"], "turbo"),
        ([good, "--host", "192.0.2.1"], "--host '192.0.2.1': no address of this machine"),
        ([good, "--tls-cert", str(tmp_path / "file"), "--tls-key", str(tmp_path / "file")], "holds no PEM"),
        ([good, "--host", "no.such.host.invalid"], "no.such.host.invalid"),
    ):
        assert main(["serve", *words, *ports]) == 2, words
        err = capsys.readouterr().err
        assert err.count("\n") == 1, err
        assert err.startswith("error: ")
        assert said in err
    with taken:
        for option in ("--http-port", "--grpc-port", "--metrics-port"):
            assert main(["serve", good, "--http-port", "0", "--grpc-port", "0", option, port]) == 2
            err = capsys.readouterr().err
            assert err.startswith(f"error: 127.0.0.1 port {port} cannot be had (Address already in use); ")
            assert err.count("\n") == 1, err


@pytest.mark.parametrize("missing", ["uvloop", "httptools", "orjson"])
def test_a_missing_extra_is_said(artifacts: Path, missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from grandopt.cli.app import main; "
        f"sys.exit(main({['serve', str(artifacts), *ANY]!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    said = f"error: serving needs {missing}, which is not installed: pip install 'grandopt[serve]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_figures_add_up(artifacts: Path) -> None:
    with served(artifacts, "--workers", "2", "--model-control", "poll") as (told, process):
        place = address(told)
        for _ in range(40):
            assert ask(place, "POST", INFER, observation())[0] == 200
        _, body = ask(place, "GET", "/v2/models/policy/stats")
        (stats,) = json.loads(body)["model_stats"]
        assert stats["inference_count"] == 40
        _, text = ask(place, "GET", "/metrics")
        assert b'nv_inference_request_success{model="policy",version="1"} 40' in text
        first = children(process.pid)
        assert len(first) == 2
        time.sleep(1.5)  # what a worker counts is written down once in a second
        end = time.monotonic() + 30
        for number, how in ((0, signal.SIGKILL), (1, signal.SIGTERM)):
            os.kill(first[number], how)
            while len(children(process.pid)) < 2 or first[number] in children(process.pid):
                assert time.monotonic() < end
                _, text = scraped(place, end)
                assert b'nv_inference_request_success{model="policy",version="1"} 40' in text, "it is no less"
            time.sleep(1.5)
        _, body = ask(place, "GET", "/v2/models/policy/stats")
        assert json.loads(body)["model_stats"][0]["inference_stats"]["success"]["count"] == 40
        ask_until(place, end)
        first = children(process.pid)
        process.kill()  # its workers see the end of their input
        process.wait()
        while any(alive(one) for one in first):
            assert time.monotonic() < end
            time.sleep(0.05)


def scraped(place: tuple[str, int], end: float) -> tuple[int, bytes]:
    """The metrics, asked until a worker that lives is the one that is asked."""
    while time.monotonic() < end:
        try:
            return ask(place, "GET", "/metrics")
        except OSError:
            time.sleep(0.05)
    raise AssertionError("no answer")


def ask_until(place: tuple[str, int], end: float) -> None:
    """Ask until it is answered: a connection may have waited at the worker that died."""
    while time.monotonic() < end:
        try:
            if ask(place, "POST", INFER, observation())[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("no answer")


@pytest.mark.slow
def test_what_is_loaded_at_one_worker_is_loaded_at_all(artifacts: Path) -> None:
    words = ("--workers", "3", "--model-control", "explicit")
    with served(artifacts, *words) as (told, process):
        place = address(told)
        assert ask(place, "POST", INFER, observation())[0] in (404, 503)
        assert ask(place, "POST", "/v2/repository/models/policy/load")[0] == 200
        assert {ask(place, "POST", INFER, observation())[0] for _ in range(30)} == {200}
        os.kill(children(process.pid)[0], signal.SIGKILL)
        end = time.monotonic() + 30
        while len(children(process.pid)) < 3:
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(1.0)
        assert {ask(place, "POST", INFER, observation())[0] for _ in range(30)} == {200}
        assert ask(place, "POST", "/v2/repository/models/policy/unload")[0] == 200
        assert {ask(place, "POST", INFER, observation())[0] for _ in range(30)} <= {404, 503}


@pytest.mark.slow
def test_requests_under_way_are_answered_when_it_stops(artifacts: Path) -> None:
    with served(artifacts) as (told, process):
        answers: list[int] = []

        def batch() -> None:
            answers.append(ask(address(told), "POST", INFER, observation(4000))[0])

        threads = [threading.Thread(target=batch) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        process.terminate()
        for thread in threads:
            thread.join()
        assert set(answers) <= {200, 503}
        process.communicate(timeout=30)
        assert process.returncode == 0


@pytest.mark.slow
def test_tls_is_spoken_with_a_certificate(artifacts: Path, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
            *("-keyout", str(key), "-out", str(cert), "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    with served(artifacts, "--tls-cert", str(cert), "--tls-key", str(key)) as (told, _):
        (url,) = told["addresses"]["http"]
        assert url.startswith("https://")
        context = ssl.create_default_context(cafile=str(cert))
        with urllib.request.urlopen(f"{url}/v2/health/ready", context=context) as answer:
            assert json.loads(answer.read())["ready"] is True


@pytest.mark.slow
def test_eight_agents_take_less_than_90_megabytes(artifacts: Path, tmp_path: Path) -> None:
    for number in range(8):
        shutil.copytree(artifacts / "policy", tmp_path / f"policy_{number}")
    with served(tmp_path, light=False) as (told, process):
        assert len(told["models"]) == 8
        for number in range(8):
            assert ask(address(told), "POST", f"/v2/models/policy_{number}/infer", observation())[0] == 200
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        (resident,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
        assert int(resident.split()[1]) < 90_000, "kB, with HTTP, gRPC and metrics"
