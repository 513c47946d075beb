"""Ray, installed beside what is here.

`python -m tests.distributed.environment` installs it. Where it cannot be had, its tests are skipped.
"""

from __future__ import annotations

from tests.environments import Environment, install

PACKAGES = (
    *("aiohappyeyeballs==2.7.1", "aiohttp==3.14.5", "aiosignal==1.4.0", "annotated-doc==0.0.7"),
    *("anyio==4.16.0", "attrs==26.1.0", "certifi==2026.10.19.post1", "charset-normalizer==3.5.3"),
    *("click==8.5.1", "fastapi==0.165.0", "frozenlist==1.8.0", "grpcio-reflection==1.85.1"),
    *("h11==0.16.0", "idna==3.20", "msgpack==1.2.4", "multidict==7.2.1", "opentelemetry-api==1.45.2"),
    *("opentelemetry-exporter-prometheus==0.66b2", "opentelemetry-proto==1.45.2"),
    *("opentelemetry-sdk==1.45.2", "opentelemetry-semantic-conventions==0.66b2", "propcache==0.5.4"),
    *("protobuf==7.36.2", "python-dotenv==1.2.4", "ray==2.60.0", "requests==2.34.2", "starlette==1.10.0"),
    *("urllib3==2.8.0", "uvicorn==0.54.0", "watchfiles==1.3.0", "yarl==1.25.1"),
)
"""What Ray Serve imports, without the parts of its dashboard."""

RAY = Environment("distributed", "ray", PACKAGES)

if __name__ == "__main__":
    install({"ray": RAY}, "Install Ray.")
