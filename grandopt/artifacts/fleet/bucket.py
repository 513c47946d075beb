"""A bucket of S3, or of a store that speaks its protocol.

Credentials and endpoint are found as AWS's own tools find them (environment, `~/.aws`, the machine's role),
and are never told.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from grandopt.artifacts.fleet.base import LARGEST, Place, PlaceError, ReadOnlyError
from grandopt.errors import ConfigError, first_line
from grandopt.private import without_secrets

SCHEME = "s3://"
INSTALL = "pip install 'grandopt[store]'"
PATIENCE = {"connect_timeout": 3, "read_timeout": 10, "retries": {"max_attempts": 1}}
"""Seconds that a request waits, and how often it is sent again. Builds are worth more than a store."""
MISSING = ("NoSuchBucket", "NoSuchKey", "404")
REFUSED = (
    *("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"),
    *("AllAccessDisabled", "AuthorizationHeaderMalformed", "PermanentRedirect", "401"),
)


class BucketPlace(Place):
    """Parcels as objects below a prefix: one PUT each, which readers see whole or not at all.

    What is needed are the rights to list and to get, and, to share what is built here, to put. Raises
    ConfigError for a URL that names no bucket, and where the library is not installed.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query or not parts.netloc:
            raise ConfigError(
                "--store must read s3://BUCKET/PREFIX; credentials come from the environment or ~/.aws, not "
                "from the URL"
            )
        try:
            import s3fs
        except ImportError as error:
            raise ConfigError(f"--store {url} needs s3fs, which is not installed; {INSTALL}") from error
        for name in ("s3fs", "aiobotocore", "botocore", "fsspec"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what is wrong is in our one line
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        self._files = s3fs.S3FileSystem(
            config_kwargs=PATIENCE, skip_instance_cache=True, use_listings_cache=False
        )
        self.name = f"{SCHEME}{'/'.join(filter(None, (self._bucket, self._prefix)))}"

    def check(self) -> None:
        try:
            self._files.call_s3("list_objects_v2", Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        except self._errors() as error:
            code, said = _code(error), self._said(error)
            if code in MISSING or isinstance(error, FileNotFoundError):
                raise ConfigError(f"{said}: there is no such bucket; make it, or name another") from error
            if code in REFUSED or isinstance(error, PermissionError):
                raise ConfigError(f"{said}: ask for the right to list, get and put there") from error
            if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
                raise ConfigError(f"{said}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
            if _is_unknown_host(error) or isinstance(error, ValueError):
                raise ConfigError(f"{said}: look at AWS_ENDPOINT_URL and the region") from error
            raise PlaceError(said) from error

    def get(self, name: str) -> bytes | None:
        path = self._path(name)
        try:
            if self._files.info(path)["size"] > LARGEST:
                raise PlaceError(f"{self.name}: {name} has more than {LARGEST} bytes")
            return bytes(self._files.cat_file(path))
        except FileNotFoundError:
            return None
        except self._errors() as error:
            raise PlaceError(self._said(error)) from error

    def put(self, name: str, content: bytes) -> None:
        try:
            self._files.pipe_file(self._path(name), content)
        except self._errors() as error:
            refused = _code(error) in REFUSED or isinstance(error, PermissionError)
            raise (ReadOnlyError if refused else PlaceError)(self._said(error)) from error

    def _path(self, name: str) -> str:
        return "/".join(filter(None, (self._bucket, self._prefix, name)))

    def _errors(self) -> tuple[type[Exception], ...]:
        """What the library raises: its own errors, and of the system's those that s3fs makes of them."""
        from botocore.exceptions import BotoCoreError, ClientError

        return BotoCoreError, ClientError, OSError, ValueError, TimeoutError

    def _said(self, error: Exception) -> str:
        host = self._host()
        what = without_secrets(first_line(error))
        return f"--store {self.name} at {host}: {_code(error) or type(error).__name__} ({what:.200})"

    def _host(self) -> str:
        client: Any = getattr(self._files, "_s3", None)
        url = "" if client is None else str(client.meta.endpoint_url)
        return urlsplit(url).netloc.rpartition("@")[2] or "an unknown host"


def _code(error: BaseException | None) -> str:
    """The code of the answer that an error is about, empty where there was none."""
    while error is not None:
        answer = getattr(error, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code", ""))
        error = error.__cause__ or error.__context__
    return ""


def _is_unknown_host(error: BaseException | None) -> bool:
    """Whether the name of the host does not exist, which no waiting mends."""
    while error is not None:
        if "DNS" in type(error).__name__ or "getaddrinfo" in str(error) or "Name or service" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
