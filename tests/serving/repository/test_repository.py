"""What of a folder is served, and how that changes while it is."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.errors import ArtifactError, ConfigError
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.engine.version import loaded
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.repository.layout import candidates
from grandopt.serving.repository.repository import Repository
from tests.serving.agents import answered, asking
from tests.serving.artifacts import put, scaled

ONES = np.ones((1, 4), np.float32)
MODULE = Repository.__module__


@asynccontextmanager
async def served(folder: Path, **options: Any) -> AsyncIterator[DataPlane]:
    """A data plane over a folder."""
    engine = Engine()
    await engine.initialize(monitoring=False, adaptation=False, memory=False)
    agents = Repository(folder, engine, **options)
    plane = DataPlane(engine, agents)
    try:
        await agents.start()
        yield plane
    finally:
        await agents.stop()
        await engine.shutdown()


async def factor(plane: DataPlane, model: str, version: str = "") -> tuple[float, str]:
    """What an agent multiplies by, and as which version it answers."""
    response = await answered(plane, asking(model, x=ONES)._replace(version=version))
    assert response.outputs[0].data is not None
    return float(response.outputs[0].data[0, 0]), response.version


async def until(holds: Any) -> None:
    """Wait until it holds, for some seconds at most."""
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to hold")


def states(plane: DataPlane) -> list[tuple[str, str, str]]:
    """Name, version and state of each line of the index."""
    return [(row["name"], row["version"], row["state"]) for row in plane.index()]


def test_a_folder_of_agents_with_versions_serves_the_latest_of_each(tmp_path: Path) -> None:
    put(scaled(2), tmp_path / "plain")
    put(scaled(3), tmp_path / "counted" / "2")
    put(scaled(5), tmp_path / "counted" / "10")
    put(scaled(3), tmp_path / "named" / "0123456789ab")
    put(scaled(2), tmp_path / "named" / "aaaaaaaaaaaa")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "README").write_text("not an agent")
    digest = scaled(2).manifest.digest

    async def main() -> None:
        async with served(tmp_path) as plane:
            assert plane.ready
            assert plane.models() == ["counted", "named", "plain"]
            assert await factor(plane, "plain") == (2, "1")
            assert await factor(plane, "plain", digest[:12]) == (2, "1")
            assert await factor(plane, "plain", digest) == (2, "1")
            assert await factor(plane, "counted") == (5, "10")
            assert await factor(plane, "named") == (2, "aaaaaaaaaaaa")
            for version in ("2", digest[:11], digest[:12] + "x"):
                with pytest.raises(ProtocolError, match="has no version") as caught:
                    await factor(plane, "counted", version)
                assert caught.value.code is Code.NOT_FOUND
            assert {state for _, _, state in states(plane)} == {"READY"}

    asyncio.run(main())


def test_one_artifact_alone_is_served_under_its_own_name(tmp_path: Path) -> None:
    for given in (put(scaled(2), tmp_path / "agent"), tmp_path / "agent" / "manifest.json"):

        async def main(path: Path = given) -> None:
            async with served(path) as plane:
                assert plane.models() == ["scaled"]
                assert await factor(plane, "scaled") == (2, "1")

        asyncio.run(main())


def test_the_good_ones_are_served_beside_broken_ones_which_say_why(tmp_path: Path) -> None:
    put(scaled(2), tmp_path / "good")
    damaged = put(scaled(2), tmp_path / "damaged")
    payload = next(path for path in damaged.iterdir() if path.name != "manifest.json")
    payload.write_bytes(payload.read_bytes()[:-1])
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("x")
    (tmp_path / "a name").mkdir()
    (tmp_path / "loop").symlink_to("loop")

    async def main() -> None:
        async with served(tmp_path) as plane:
            assert plane.models() == ["good"]
            assert plane.ready
            reasons = {row["name"]: row["reason"] for row in plane.index() if row["state"] == "UNAVAILABLE"}
            assert "damaged" in reasons["damaged"]
            assert "holds neither a manifest.json nor versions" in reasons["foreign"]
            assert "may hold only letters" in reasons["a name"]
            with pytest.raises(ProtocolError, match="is not served: ") as caught:
                await factor(plane, "damaged")
            assert caught.value.code is Code.UNAVAILABLE
            assert plane.model_ready("good")
            assert not plane.model_ready("damaged")
            with pytest.raises(ProtocolError) as unknown:
                plane.model_ready("other")
            assert unknown.value.code is Code.NOT_FOUND
            assert [row["name"] for row in plane.index(ready=True)] == ["good"]

    asyncio.run(main())


def test_nothing_to_serve_is_told_in_one_line(tmp_path: Path) -> None:
    async def main(folder: Path) -> None:
        async with served(folder):
            pass

    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="empty: holds no artifact; give the folder"):
        asyncio.run(main(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="missing: not a folder of artifacts: No such file"):
        asyncio.run(main(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="file: not a folder of artifacts: Not a directory"):
        asyncio.run(main(tmp_path / "file"))
    (tmp_path / "foreign" / "src").mkdir(parents=True)
    (tmp_path / "foreign" / "src" / "main.c").write_text("x")
    with pytest.raises(ArtifactError, match="not one agent can be served: src is not loaded: "):
        asyncio.run(main(tmp_path / "foreign"))


def test_on_request_agents_come_go_and_are_replaced(tmp_path: Path) -> None:
    put(scaled(2), tmp_path / "agent")

    async def main() -> None:
        async with served(tmp_path, mode="explicit") as plane:
            assert plane.models() == []
            assert states(plane) == [("agent", "1", "UNAVAILABLE")]
            await plane.load("agent", {})
            assert await factor(plane, "agent") == (2, "1")
            put(scaled(3), tmp_path / "agent")
            assert await factor(plane, "agent") == (2, "1")
            await plane.load("agent", {})
            assert await factor(plane, "agent") == (3, "1")
            assert states(plane) == [("agent", "1", "READY")]
            await plane.unload("agent", {})
            assert states(plane) == [("agent", "1", "UNAVAILABLE")]
            with pytest.raises(ProtocolError, match="unloaded") as caught:
                await factor(plane, "agent")
            assert caught.value.code is Code.UNAVAILABLE
            await plane.unload("agent", {})
            await plane.load("agent", {})
            assert await factor(plane, "agent") == (3, "1")
            for call in (plane.load, plane.unload):
                with pytest.raises(ProtocolError) as unknown:
                    await call("other", {})
                assert unknown.value.code is Code.NOT_FOUND

    asyncio.run(main())


def test_what_does_not_load_or_does_not_fit_leaves_the_old_one_serving(tmp_path: Path) -> None:
    put(scaled(2), tmp_path / "agent" / "1")

    async def main() -> None:
        async with served(tmp_path, mode="explicit", first=("agent",)) as plane:
            broken = put(scaled(3), tmp_path / "agent" / "2")
            for path in broken.iterdir():
                if path.name.startswith("carried") or path.suffix == ".pt":
                    path.write_bytes(path.read_bytes()[::-1])
            with pytest.raises(ProtocolError, match="damaged"):
                await plane.load("agent", {})
            assert await factor(plane, "agent") == (2, "1")
            assert states(plane) == [("agent", "1", "READY"), ("agent", "2", "UNAVAILABLE")]
            put(scaled(3, width=5), tmp_path / "agent" / "3")
            with pytest.raises(ProtocolError, match="the replacement has") as caught:
                await plane.load("agent", {})
            assert caught.value.code is Code.INVALID
            assert await factor(plane, "agent") == (2, "1")
            put(scaled(3), tmp_path / "agent" / "4")
            await plane.load("agent", {})
            assert await factor(plane, "agent") == (3, "4")
            assert states(plane) == [("agent", "4", "READY")]

    asyncio.run(main())


def test_loading_is_refused_where_it_was_not_asked_for(tmp_path: Path) -> None:
    put(scaled(2), tmp_path / "agent")

    async def main() -> None:
        async with served(tmp_path) as plane:
            with pytest.raises(ProtocolError, match="takes the mode 'explicit'") as caught:
                await plane.load("agent", {})
            assert caught.value.code is Code.FORBIDDEN
        async with served(tmp_path, mode="explicit") as plane:
            for parameters in ({"config": "{}"}, {"file:1/model.pt": "AA=="}):
                with pytest.raises(ProtocolError, match="served as it was proven") as caught:
                    await plane.load("agent", parameters)
                assert caught.value.code is Code.UNSUPPORTED
            with pytest.raises(ProtocolError, match="is not known here"):
                await plane.load("agent", {"speed": 1})

    asyncio.run(main())


def test_a_watched_folder_is_followed(tmp_path: Path) -> None:
    put(scaled(2), tmp_path / "agent" / "1")

    async def main() -> None:
        async with served(tmp_path, mode="poll", poll_s=0.02) as plane:
            put(scaled(3), tmp_path / "agent" / "2")
            await until(lambda: ("agent", "2", "READY") in states(plane))
            assert await factor(plane, "agent") == (3, "2")
            # Half of one, as a copy that is under way: it is taken when the rest is there.
            whole = put(scaled(5), tmp_path / ".whole")
            half = tmp_path / "agent" / "3"
            half.mkdir()
            shutil.copy(whole / "manifest.json", half)
            await until(lambda: ("agent", "3", "UNAVAILABLE") in states(plane))
            assert await factor(plane, "agent") == (3, "2")
            shutil.copytree(whole, half, dirs_exist_ok=True)
            await until(lambda: ("agent", "3", "READY") in states(plane))
            assert await factor(plane, "agent") == (5, "3")
            put(scaled(2), tmp_path / "other")
            await until(lambda: plane.models() == ["agent", "other"])
            shutil.rmtree(tmp_path / "agent")
            await until(lambda: plane.models() == ["other"])
            assert states(plane) == [("other", "1", "READY")]

    asyncio.run(main())


def test_a_folder_that_cannot_be_read_for_a_moment_is_watched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(scaled(2), tmp_path / "agent")
    failures = {"look": 3, "open": 2}

    def failing(name: str, real: Any) -> Any:
        def call(*words: Any, **options: Any) -> Any:
            if failures[name]:
                failures[name] -= 1
                raise PermissionError(13, "Permission denied", "x")
            return real(*words, **options)

        return call

    async def main() -> None:
        async with served(tmp_path, mode="poll", poll_s=0.02) as plane:
            monkeypatch.setattr(f"{MODULE}.candidates", failing("look", candidates))
            monkeypatch.setattr(f"{MODULE}.loaded", failing("open", loaded))
            put(scaled(3), tmp_path / "agent")
            await until(lambda: failures == {"look": 0, "open": 1})
            put(scaled(5), tmp_path / "agent")
            await until(lambda: failures == {"look": 0, "open": 0})
            await until(lambda: "cannot be read: Permission denied" in plane.index()[-1]["reason"])
            assert await factor(plane, "agent") == (2, "1")
            put(scaled(7), tmp_path / "agent")
            await until(lambda: states(plane) == [("agent", "1", "READY")])
            assert await factor(plane, "agent") == (7, "1")

    asyncio.run(main())


def test_a_load_goes_on_when_its_caller_goes_away(tmp_path: Path) -> None:
    put(scaled(2), tmp_path / "agent" / "1")

    async def main() -> None:
        async with served(tmp_path, mode="explicit", first=("agent",)) as plane:
            put(scaled(3), tmp_path / "agent" / "2")
            loading = asyncio.ensure_future(plane.load("agent", {}))
            while ("agent", "2", "LOADING") not in states(plane):
                await asyncio.sleep(0)
            loading.cancel()
            await until(lambda: states(plane) == [("agent", "2", "READY")])
            assert loading.cancelled()
            assert await factor(plane, "agent") == (3, "2")

    asyncio.run(main())
