"""A certificate for servers at 127.0.0.1."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_WHO = ("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")


def signed_by_itself(folder: Path) -> tuple[Path, Path]:
    """The files of a new certificate and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    where = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", "req", "-x509", *_KEY, *where, *_WHO], check=True, capture_output=True)
    return certificate, key
