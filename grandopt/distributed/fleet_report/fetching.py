"""What lies at a URL, within bounds of size and time."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from grandopt.errors import InputError, first_line

SCHEMES = ("http", "https")
TIMEOUT_S = 10.0
"""Between two pieces of an answer."""
WHOLE_S = 120.0
PIECE = 1 << 20


def is_url(text: str) -> bool:
    """Whether it is meant as a URL: no file of ours is named like one."""
    return "://" in text


def fetched(url: str, largest: int, *, body: bytes | None = None) -> bytes:
    """The body of the answer to a GET, or to a POST of `body` as JSON.

    Raises InputError, in one line that names the URL, for another scheme than http and https (redirects
    included), where nobody answers, for another status than 200, and for answers larger than `largest` bytes
    or slower than two minutes.
    """
    _require_http(url)
    try:
        request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
        with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
            return _whole(url, answer, largest)
    except urllib.error.HTTPError as error:
        error.close()
        raise InputError(f"{url}: answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        said = error.reason if isinstance(error.reason, str) else first_line(error.reason)
        raise InputError(f"{url}: cannot be fetched ({said}); is it up?") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InputError(f"{url}: cannot be fetched ({first_line(error)})") from error


def _whole(url: str, answer: http.client.HTTPResponse, largest: int) -> bytes:
    began, parts, size = time.monotonic(), [], 0
    while piece := answer.read(PIECE):
        size += len(piece)
        parts.append(piece)
        if size > largest:
            raise InputError(f"{url}: answers more than {largest:,} bytes, which is the most that is read")
        if time.monotonic() - began > WHOLE_S:
            raise InputError(f"{url}: its answer takes longer than {WHOLE_S:g} s")
    return b"".join(parts)


def _require_http(url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in SCHEMES and bool(parts.hostname)
    except ValueError:
        fits = False
    if not fits:
        raise InputError(
            f"{url}: only http:// and https:// are fetched; a file or a folder is named by its path"
        )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows none to another scheme, such as ftp."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        """See the standard library's."""
        _require_http(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_Redirects)
