"""Clients of the protocol, and what the server is compared with, each installed beside what is here.

`python -m tests.serving.clients.environment [NAME…]` installs them, or those named: some seconds each. Where
one cannot be had, its tests are skipped.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import Environment, install

PACKAGES: dict[str, tuple[str, ...]] = {
    "tritonclient": (
        *("aiohappyeyeballs==2.7.1", "aiohttp==3.14.5", "aiosignal==1.4.0", "attrs==26.1.0"),
        *("brotli==1.2.1", "certifi==2026.10.19.post1", "frozenlist==1.8.0", "gevent==26.9.0"),
        *("geventhttpclient==2.6.1", "greenlet==3.3.2", "grpcio==1.85.3", "idna==3.20"),
        *("ml_dtypes==0.5.4", "multidict==7.2.1", "packaging==26.4", "propcache==0.5.4"),
        *("protobuf==6.33.6", "python-rapidjson==1.25", "tritonclient==2.73.0"),
        *("typing_extensions==4.16.0", "urllib3==2.8.0", "yarl==1.25.1", "zope.event==6.2"),
        *("zope.interface==8.7",),
    ),
    "kserve": (
        *("PyJWT==2.15.1", "PyYAML==6.0.4", "aiohappyeyeballs==2.7.1", "aiohttp-retry==2.9.1"),
        *("aiohttp==3.14.5", "aiosignal==1.4.0", "annotated-doc==0.0.7", "annotated-types==0.8.0"),
        *("anyio==4.16.0", "attrs==26.1.0", "certifi==2026.10.19.post1", "cffi==2.1.1"),
        *("charset-normalizer==3.5.3", "click==8.5.1", "cloudevents==1.13.0", "cryptography==50.0.2"),
        *("deprecation==2.1.0", "durationpy==0.11", "fastapi==0.165.0", "frozenlist==1.8.0"),
        *("grpc-interceptor==0.15.4", "grpcio==1.85.3", "h11==0.16.0", "httpcore==1.0.9"),
        *("httptools==0.9.0", "httpx==0.28.1", "idna==3.20", "kserve==0.21.0", "kubernetes==37.0.1"),
        *("multidict==7.2.1", "oauthlib==4.0.1", "opentelemetry-api==1.45.2", "orjson==3.13.0"),
        *("packaging==26.4", "pandas==2.3.3", "prometheus_client==0.26.0", "propcache==0.5.4"),
        *("protobuf==6.33.6", "psutil==5.9.8", "pyasn1==0.6.5", "pycparser==3.12", "pydantic==2.14.4"),
        *("pydantic_core==2.50.5", "python-dateutil==2.9.0.post0", "python-dotenv==1.2.4"),
        *("python-multipart==0.0.34", "pytz==2026.6", "requests-oauthlib==2.0.0", "requests==2.34.2"),
        *("six==1.17.0", "starlette==1.10.0", "tabulate==0.10.0", "timing-asgi==0.3.2"),
        *("typing-inspection==0.4.5", "typing_extensions==4.16.0", "tzdata==2026.6", "urllib3==2.8.0"),
        *("uvicorn==0.54.0", "uvloop==0.23.0", "watchfiles==1.3.0", "websocket-client==1.9.2"),
        *("websockets==17.4", "yarl==1.25.1"),
    ),
    "schemathesis": (
        *("MarkupSafe==3.0.4", "PyYAML==6.0.4", "Pygments==2.21.0", "Werkzeug==3.1.9", "anyio==4.16.0"),
        *("certifi==2026.10.19.post1", "charset-normalizer==3.5.3", "click==8.5.1", "graphql-core==3.3.2"),
        *("harfile==0.6.0", "hypothesis-graphql==0.13.5", "hypothesis==6.170.17", "idna==3.20"),
        *("iniconfig==2.3.1", "jsonschema_rs==0.60.3", "markdown-it-py==4.3.0", "mdurl==0.1.2"),
        *("packaging==26.4", "pluggy==1.7.0", "pyrate-limiter==4.5.1", "pytest==9.2.0"),
        *("requests==2.34.2", "rich==15.0.0", "schemathesis==4.32.5", "sortedcontainers==2.4.0"),
        *("typing_extensions==4.16.0", "urllib3==2.8.0"),
    ),
    "fastapi": (
        *("annotated-doc==0.0.7", "annotated-types==0.8.0", "anyio==4.16.0", "click==8.5.1"),
        *("fastapi==0.165.0", "h11==0.16.0", "httptools==0.9.0", "idna==3.20"),
        *("opentelemetry-api==1.45.2", "orjson==3.13.0", "pydantic==2.14.4", "pydantic_core==2.50.5"),
        *("starlette==1.10.0", "typing-inspection==0.4.5", "typing_extensions==4.16.0", "uvicorn==0.54.0"),
        *("uvloop==0.23.0",),
    ),
    "grpc_services": ("grpcio-health-checking==1.85.1", "grpcio-reflection==1.85.1", "protobuf==7.36.2"),
}
"""`tritonclient` has Triton's clients for HTTP and gRPC, `grpc_services` those for health and reflection."""

ENVIRONMENTS = {name: Environment("clients", name, packages) for name, packages in PACKAGES.items()}

SCRIPTS = Path(__file__).parent / "asks_with"
LIMIT_S = 120


def asks_with(name: str, script: str, *arguments: str) -> str:
    """Run `asks_with/SCRIPT.py ARGUMENTS` in the environment `name`; what it printed.

    Skips the test where that is not installed.
    """
    require(name)
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", str(SCRIPTS / f"{script}.py"), *arguments],
        env=ENVIRONMENTS[name].variables(SCRIPTS),
        timeout=LIMIT_S,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def require(name: str) -> None:
    """Skip the test unless the environment is installed."""
    if not ENVIRONMENTS[name].is_there:
        pytest.skip(f"{name} is not installed: python -m tests.serving.clients.environment {name}")


if __name__ == "__main__":
    install(ENVIRONMENTS, "Install clients of the protocol.")
