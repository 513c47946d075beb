"""A local server of S3's protocol, installed beside what is here: `python -m tests.fleet.environment`.

Where it cannot be had, the tests with a bucket are skipped.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.environments import Environment, install

PACKAGES = (
    *("Flask==3.1.3", "Jinja2==3.1.6", "MarkupSafe==3.0.4", "PyYAML==6.0.4", "Werkzeug==3.1.9"),
    *("blinker==1.9.0", "boto3==1.44.8", "botocore==1.44.8", "certifi==2026.10.19.post1", "cffi==2.1.1"),
    *("charset-normalizer==3.5.3", "click==8.5.1", "cryptography==50.0.2", "flask-cors==6.0.5", "idna==3.20"),
    *("itsdangerous==2.2.0", "jmespath==1.1.0", "moto==5.2.5", "py-partiql-parser==0.6.3", "pycparser==3.12"),
    *("python-dateutil==2.9.0.post0", "requests==2.34.2", "responses==0.26.3", "s3transfer==0.19.3"),
    *("six==1.17.0", "urllib3==2.8.0", "xmltodict==1.0.4"),
)
"""Moto's server with what its S3 needs."""
ENVIRONMENTS = {"moto": Environment("s3", "moto", PACKAGES)}
START_S = 60.0


class S3Server:
    """Moto's server on a port of its own: it keeps everything in memory, and takes any credentials."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = ENVIRONMENTS["moto"].variables()
        command = [sys.executable, "-P", "-W", "ignore", "-m", "moto.server"]
        command += ["-H", "127.0.0.1", "-p", str(self.port)]
        with (self._folder / "moto.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            except urllib.error.HTTPError as answered:
                answered.close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"moto did not start: {(self._folder / 'moto.log').read_text()[-500:]}")

    def make(self, bucket: str) -> None:
        """Make a bucket."""
        request = urllib.request.Request(f"{self.url}/{bucket}", method="PUT")
        urllib.request.urlopen(request, timeout=30).close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def running_server(folder: Path) -> Iterator[S3Server]:
    """A started server; skips the test where it is not installed."""
    if not ENVIRONMENTS["moto"].is_there:
        pytest.skip("moto is not installed: python -m tests.fleet.environment")
    server = S3Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    install(ENVIRONMENTS, "Install a local server of S3's protocol.")
