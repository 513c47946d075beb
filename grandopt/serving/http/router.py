"""Which route a path is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from grandopt.errors import ConfigError
from grandopt.serving.http.head import decoded
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.routes import Route

LONGEST = 1024
"""Characters of a decoded part of a path, such as a model's name."""


class MethodError(ProtocolError):
    """A path that is known, and a method that it does not have; `allowed` are those that it has."""

    def __init__(self, text: str, allowed: str) -> None:
        super().__init__(Code.METHOD, text)
        self.allowed = allowed

    def __reduce__(self) -> tuple[type[MethodError], tuple[str, str]]:  # type: ignore[override]
        return type(self), (str(self), self.allowed)


class Found(NamedTuple):
    """A route, and the parts of the path that it names."""

    route: Route
    fields: Mapping[str, str]


class Router:
    """Finds the route of a method and a path. Of two that fit, the one with the earlier fixed part counts."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raises ConfigError for two routes of one method and path."""
        self._shapes: dict[int, list[tuple[tuple[str, ...], dict[str, Route]]]] = {}
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        parts = _parts(route.path)
        shapes = self._shapes.setdefault(len(parts), [])
        for known, methods in shapes:
            if known == parts:
                if route.method in methods:
                    raise ConfigError(f"two routes are {route.method} {route.path}")
                methods[route.method] = route
                return
        shapes.append((parts, {route.method: route}))
        shapes.sort(key=lambda shape: tuple(part.startswith("{") for part in shape[0]))

    def find(self, method: str, path: str) -> Found:
        """Raises ProtocolError NOT_FOUND, MethodError where other methods are there. HEAD is GET's."""
        parts = _parts(path)
        allowed: set[str] = set()
        wanted = "GET" if method == "HEAD" else method
        for shape, methods in self._shapes.get(len(parts), ()):
            if not all(want == part or want.startswith("{") for want, part in zip(shape, parts, strict=True)):
                continue
            if wanted in methods:
                pairs = zip(shape, parts, strict=True)
                fields = {want[1:-1]: _field(part) for want, part in pairs if want.startswith("{")}
                return Found(methods[wanted], fields)
            allowed.update(methods)
        if not allowed:
            raise ProtocolError(Code.NOT_FOUND, f"there is nothing at {path!r:.120}")
        if "GET" in allowed:
            allowed.add("HEAD")
        words = ", ".join(sorted(allowed))
        raise MethodError(f"{method} is not for {path!r:.120}, only {words}", words)


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


def _field(part: str) -> str:
    text = decoded(part)
    if not text or len(text) > LONGEST:
        raise ProtocolError(
            Code.NOT_FOUND, f"a name in the path has 1 to {LONGEST} characters, got {len(text)}"
        )
    return text
