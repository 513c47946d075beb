"""Two pools of build processes that share a storage make each build once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from grandopt.artifacts.store import Store
from grandopt.artifacts.store_name import store_name
from grandopt.config.load import Overrides, resolve
from grandopt.config.schema import AgentConfig, FileConfig
from grandopt.errors import StorageError
from grandopt.reason import Reason, ReasonCode
from grandopt.tuning.study.shared_builds import SharedBuilds, shared_builds
from grandopt.workflows.building.pool import BuildPool
from grandopt.workflows.building.request import BuildResult, Variant
from grandopt.workflows.job import store_in_common
from grandopt.workflows.memo.other_machines import OtherMachines
from tests.workflows.test_pool import for_seconds

VARIANTS: list[Variant] = [(label, 1) for label in "abcdefgh"]
FAILS = Reason(ReasonCode.BUILD_FAILED, "the compiler does not take it")


class InOneStore:
    """What earlier runs built, as far as sharing asks: the builds that somebody put into the store."""

    def __init__(self) -> None:
        self.there: dict[Variant, BuildResult] = {}

    def key(self, variant: Variant) -> str:
        return f"{variant[0]}{variant[1]}"

    def built(self, variant: Variant) -> BuildResult | None:
        return self.there.get(variant)


class Machine(OtherMachines):
    """Puts what it builds into the store, as a build process does, and remembers it."""

    def __init__(self, builds: SharedBuilds, store: InOneStore) -> None:
        super().__init__(builds, store)
        self.made: list[Variant] = []
        self._store = store

    def end(self, result: BuildResult) -> None:
        self.made.append(result.variant)
        self._store.there[result.variant] = result
        super().end(result)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'studies.db'}"


@pytest.fixture
def two(url: str) -> Iterator[list[SharedBuilds]]:
    with ExitStack() as stack:
        yield [stack.enter_context(shared_builds(url, "one store")) for _ in range(2)]


def test_each_build_is_made_by_one_and_known_to_both(two: list[SharedBuilds], tmp_path: Path) -> None:
    store = InOneStore()
    machines = [Machine(builds, store) for builds in two]
    found: dict[int, list[BuildResult]] = {}

    def work(number: int) -> None:
        with BuildPool(1, "tests.workflows.odd_builder") as builders:
            found[number] = builders.build(
                tmp_path, VARIANTS, Store(tmp_path / "store"), for_seconds(60.0), lambda running, done: None,
                sharing=machines[number],
            )  # fmt: skip

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted([*machines[0].made, *machines[1].made]) == VARIANTS
    for number in range(2):
        assert sorted(result.variant for result in found[number]) == VARIANTS
        assert {result.status for result in found[number]} == {"verified"}
        own = {result.variant for result in found[number] if result.seconds > 0}
        assert own == set(machines[number].made), "what others built took no time here"


def test_a_refusal_holds_for_all_and_a_crash_for_nobody_else(two: list[SharedBuilds]) -> None:
    here, there = (OtherMachines(builds, InOneStore()) for builds in two)
    a, b = VARIANTS[:2]
    assert here.begin(a) == "ours"
    assert there.begin(a) == "theirs"
    here.end(BuildResult(a, "failed", FAILS, 1.0))
    told = there.begin(a)
    assert isinstance(told, BuildResult)
    assert (told.status, told.seconds) == ("failed", 0.0)
    assert told.reason is not None
    assert told.reason.code is FAILS.code
    assert told.reason.text.startswith(f"{FAILS.text} (found by a machine on this storage on 2")
    assert here.begin(b) == "ours"
    here.end(BuildResult(b, "failed", FAILS, 1.0, crashed=True))
    assert there.begin(b) == "ours"


def test_machines_without_a_store_in_common_do_not_wait_for_each_other(url: str, tmp_path: Path) -> None:
    names = [store_name(tmp_path / name) for name in ("one", "two", "one")]
    assert names[0] == names[2] != names[1]
    with shared_builds(url, names[0]) as one, shared_builds(url, names[1]) as two:
        a = VARIANTS[0]
        here, there = OtherMachines(one, InOneStore()), OtherMachines(two, InOneStore())
        assert here.begin(a) == "ours"
        assert there.begin(a) == "ours"
        here.end(BuildResult(a, "failed", FAILS, 1.0))
        assert isinstance(there.begin(a), BuildResult), "but a refusal is known to all"


def test_the_fleet_s_store_is_what_machines_have_in_common(tmp_path: Path) -> None:
    def name(folder: str, **fleet: str) -> str:
        job = resolve(
            FileConfig(fleet=fleet), {"policy": AgentConfig(checkpoint=Path("policy"))}, Overrides()
        )
        return store_in_common(job, tmp_path / folder)

    assert name("one") == name("one") != name("two")
    assert name("one", store="s3://bucket/builds") == name("two", store="s3://bucket/builds") != name("one")
    assert name("one", store="s3://bucket/others") != name("one", store="s3://bucket/builds")


def test_an_interrupt_ends_waiting_for_others(tmp_path: Path) -> None:
    class AllButTheFirst:
        def begin(self, variant: Variant) -> str:
            return "ours" if variant == VARIANTS[0] else "theirs"

        def end(self, result: BuildResult) -> None: ...

    def interrupted(running: object, done: object) -> None:
        raise KeyboardInterrupt

    with BuildPool(2, "tests.workflows.odd_builder") as builders, pytest.raises(KeyboardInterrupt):
        builders.build(
            tmp_path, VARIANTS, Store(tmp_path / "store"), for_seconds(600.0), interrupted,
            sharing=AllButTheFirst(),
        )  # fmt: skip


def test_a_storage_that_is_lost_ends_the_builds(tmp_path: Path) -> None:
    class Lost:
        def begin(self, variant: Variant) -> str:
            raise StorageError("the server is gone")

        def end(self, result: BuildResult) -> None:
            raise AssertionError

    with (
        BuildPool(2, "tests.workflows.odd_builder") as builders,
        pytest.raises(StorageError, match="is gone"),
    ):
        builders.build(
            tmp_path, VARIANTS, Store(tmp_path / "store"), for_seconds(60.0), lambda running, done: None,
            sharing=Lost(),
        )  # fmt: skip
