"""The token and the certificate that the options name."""

from __future__ import annotations

import ssl
from pathlib import Path

from grandopt.errors import ConfigError
from grandopt.serving.protocol.access import OPEN, Access
from grandopt.serving.server.options import ServerOptions

SHORTEST, LONGEST = 8, 4096
"""Characters of a token."""


def access(options: ServerOptions) -> Access:
    """Who may ask; raises ConfigError for a token file that holds none."""
    if options.token_file is None:
        return OPEN
    text = _read(options.token_file, "--token-file").strip()
    try:
        token = text.decode("ascii")
    except UnicodeDecodeError:
        token = ""
    if not (SHORTEST <= len(token) <= LONGEST and token.isprintable() and " " not in token):
        raise ConfigError(
            f"--token-file {options.token_file}: a token is one line of {SHORTEST} to {LONGEST} ASCII "
            "characters without spaces"
        )
    return Access(token, options.token_for_all)


def tls(options: ServerOptions) -> ssl.SSLContext | None:
    """The context of TLS; raises ConfigError for files that do not go together."""
    if options.tls_cert is None or options.tls_key is None:
        return None
    for path, option in ((options.tls_cert, "--tls-cert"), (options.tls_key, "--tls-key")):
        _read(path, option)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except ssl.SSLError as error:
        why = error.reason or "one of them holds no PEM"
        raise ConfigError(
            f"--tls-cert {options.tls_cert} and --tls-key {options.tls_key} cannot be used: {why}"
        ) from None
    return context


def _read(path: Path, option: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(1 << 20)
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}") from None
