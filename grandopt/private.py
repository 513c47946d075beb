"""What reports, logs and messages do not tell: passwords, and where things lie on this machine.

A password stands in a URL, in front of the host or in the query. What cannot be read as a URL is treated as
if it could: everything before its last "@" may be a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HIDDEN = "***"
URL_OPTIONS = ("--storage", "--redis", "--url", "--store")
"""Options of the command line whose values are URLs, whatever they look like."""

_USER = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*:/{1,3})(?P<user>[^\s:@/'\"]*)(?P<rest>[^\s'\"<>]*)@")
_UNREADABLE = re.compile(r"[^\s'\"<>(]*:[^\s'\"<>]*@")
"""What looks like a name and a password, and is in no URL."""
_QUERY = re.compile(
    r"(?P<name>[?&;][\w.-]*?(?:pass|pwd|secret|token|key|sign|sig|auth|credential)[\w.-]*=)[^&;#\s'\"<>]+",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """The text with *** for the passwords of all URLs in it."""
    if "@" in text:
        text = _USER.sub(lambda found: f"{found['scheme']}{_user(found)}@", text)
        text = _UNREADABLE.sub(lambda found: found[0] if "://" in found[0] else f"{HIDDEN}@", text)
    if "=" in text:
        text = _QUERY.sub(rf"\g<name>{HIDDEN}", text)
    return text


def url_without_secrets(url: str) -> str:
    """A value that ought to be one URL, with *** for what may be a password in it, however it is misspelt."""
    before, at, host = url.rpartition("@")
    if not at:
        return without_secrets(url)
    start = re.match(r"[A-Za-z][\w+.-]*://[^\s:@/]*", before)
    known = "" if start is None else start[0]
    password = "" if before == known else f":{HIDDEN}" if known else HIDDEN
    return f"{known}{password}@{without_secrets(host)}"


def without(text: str, url: str) -> str:
    """What somebody else says of a URL, without its secrets, in whichever form they were repeated."""
    said = without_secrets(text.replace(url, url_without_secrets(url)))
    for secret in _secrets(url):
        said = said.replace(secret, HIDDEN)
    return said


def without_words(text: str, words: Sequence[str]) -> str:
    """A text about a command line, without the secrets of its words, in whichever form they were repeated."""
    for word in words:
        value = word.partition("=")[2] if word.startswith("-") and "=" in word else word
        if "://" in value or "@" in value:
            text = without(text, value)
    return without_secrets(text)


def told_path(path: str | Path) -> str:
    """A path as reports tell it: from the working folder on."""
    text = str(path)
    return os.path.relpath(text) if Path(text).is_absolute() else text


def told_command(words: Sequence[str]) -> tuple[str, ...]:
    """A command line as reports tell it: the program's name, no secrets, paths from the working folder on."""
    told: list[str] = []
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        option, sign, value = word.partition("=")
        if not place:
            told.append(Path(word).name)
        elif before in URL_OPTIONS:
            told.append(url_without_secrets(word))
        elif option.startswith("-") and sign:
            hidden = url_without_secrets(value) if option in URL_OPTIONS else _word(value)
            told.append(f"{option}={hidden}")
        else:
            told.append(_word(word))
    return tuple(told)


def told(data: Any) -> Any:
    """Plain data as reports tell it; texts lose secrets, and the place of the working and the home folder."""
    if isinstance(data, str):
        return _told_text(data)
    if isinstance(data, dict):
        return {name: told(item) for name, item in data.items()}
    if isinstance(data, list | tuple):
        return [told(item) for item in data]
    return data


def _told_text(text: str) -> str:
    if "/" not in text and "@" not in text:
        return text
    text = without_secrets(text)
    if Path(text).is_absolute() and "\n" not in text and os.path.lexists(text):
        return told_path(text)
    for place, name in ((Path.cwd(), "."), (Path.home(), "~")):
        if place != Path(place.anchor):
            text = re.sub(rf"{re.escape(str(place))}(?=[/\s'\":;,)]|$)", name, text)
    return text.replace("./", "", 1) if text.startswith("./") else text


def _word(word: str) -> str:
    if Path(word).is_absolute():
        return told_path(word)
    return url_without_secrets(word) if ":" in word.rpartition("@")[0] else without_secrets(word)


def _user(found: re.Match[str]) -> str:
    """What stands before the "@": the user's name, unless what follows it may be a password."""
    if not found["rest"]:
        return found["user"]
    return f"{found['user']}:{HIDDEN}"


def _secrets(url: str) -> list[str]:
    """The parts of a URL that may be passwords, the longest first."""
    before = url.rpartition("@")[0]
    rest = re.sub(r"^[A-Za-z][\w+.-]*:/{1,3}", "", before)
    parts = {found[0].partition("=")[2] for found in _QUERY.finditer(url)}
    if ":" in rest:
        password = rest.partition(":")[2]
        parts |= {before, rest, password, *re.split(r"[\s:/@]+", password)}
    return sorted((part for part in parts if len(part) > 3), key=len, reverse=True)
