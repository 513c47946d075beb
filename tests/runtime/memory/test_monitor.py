"""The monitor, the census, and tracing on demand."""

from __future__ import annotations

import os
import threading
import tracemalloc

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from grandopt.errors import ConfigError
from grandopt.runtime.memory.blocks.arrays import ArrayBlocks
from grandopt.runtime.memory.break_even import ALWAYS
from grandopt.runtime.memory.census import Census, take_census
from grandopt.runtime.memory.census_ring import CENSUSES, OTHERS, TYPES, CensusRing
from grandopt.runtime.memory.monitor import Alert, MemoryLimits, Monitor
from grandopt.runtime.memory.pool import Pool
from grandopt.runtime.memory.resident import Resident, resident_reader
from grandopt.runtime.memory.tracing import tracing
from tests.runtime.cache.clock import Clock


class Values:
    """What the readers give."""

    def __init__(self) -> None:
        self.resident = Resident(1000, 800, 900)
        self.blocks = 50


def monitor(values: Values, clock: Clock, **options: object) -> Monitor:
    return Monitor(
        clock=clock,
        resident=lambda: values.resident,
        blocks=lambda: values.blocks,
        **options,  # type: ignore[arg-type]
    )


def test_readings_hold_what_the_readers_say() -> None:
    values, clock = Values(), Clock()
    pool = Pool(ArrayBlocks(), 1 << 20, ALWAYS)
    lease = pool.lease(64, "float32")
    pool.lease(16, "float32").give_back()
    watch = monitor(values, clock, pools=[pool])
    assert watch.stats().last is None
    reading = watch.read()
    assert (reading.time, reading.resident, reading.pools, reading.blocks) == (
        1000.0,
        values.resident,
        256 + 64,
        50,
    )
    values.resident = Resident(500)
    clock.now += 1
    watch.read()
    stats = watch.stats()
    assert stats.last is not None
    assert (stats.last.resident.all, stats.peak, stats.readings) == (500, 1000, 2)
    lease.give_back()


def test_an_alert_stands_until_the_value_is_well_below_its_limit() -> None:
    values, clock = Values(), Clock()
    watch = monitor(values, clock, limits=MemoryLimits(resident=1000, unique=10_000))
    states = []
    for resident in (1000, 1001, 990, 2000, 949, 990):
        values.resident = Resident(resident)
        clock.now += 10
        watch.read()
        states.append(watch.stats().alerts)
    assert states[0] == ()
    assert states[1] == (Alert("resident", 1000, 1001, 1020.0),)
    assert states[2] == (Alert("resident", 1000, 990, 1020.0),)
    assert states[3] == (Alert("resident", 1000, 2000, 1020.0),)
    assert states[4] == states[5] == ()


def test_every_limit_is_looked_at() -> None:
    values, clock = Values(), Clock()
    limits = MemoryLimits(resident=1, unique=1, pools=1, blocks=1, tensors=1)
    pool = Pool(ArrayBlocks(), 1 << 20, ALWAYS)
    pool.lease(64, "float32").give_back()
    watch = monitor(
        values, clock, limits=limits, pools=[pool], census_every=1, census=lambda: Census({}, 7, 28)
    )
    watch.read()
    assert {alert.name: alert.value for alert in watch.stats().alerts} == {
        "resident": 1000,
        "unique": 800,
        "pools": 256,
        "blocks": 50,
        "tensors": 7,
    }


def test_the_monitor_itself_does_not_grow() -> None:
    values, clock = Values(), Clock()
    watch = monitor(values, clock, keep=100, census_every=1, census=lambda: Census({"a": (1, 1)}, 0, 0))
    for _ in range(150):
        clock.now += 1
        watch.read()
    assert watch.stats().readings == 100
    kept = [reading.census for reading in watch._history.readings() if reading.census is not None]
    assert len(kept) == CENSUSES
    assert not watch.leak().leaking


def test_a_census_is_taken_as_often_as_asked() -> None:
    values, clock, taken = Values(), Clock(), []

    def census() -> Census:
        taken.append(clock.now)
        return Census({}, 0, 0)

    watch = monitor(values, clock, census_every=3, census=census)
    for _ in range(7):
        clock.now += 1
        watch.read()
    assert taken == [1001.0, 1004.0, 1007.0]


def test_watching_reads_until_the_block_ends() -> None:
    values, clock = Values(), Clock()
    watch = monitor(values, clock)
    enough, waits = threading.Event(), []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        clock.now += seconds
        if len(waits) > 3:
            enough.set()
        return enough.is_set()

    with watch.watching(10.0, wait):
        assert enough.wait(10)
    assert watch.stats().readings == 3
    assert set(waits) == {10.0}

    def broken() -> Resident:
        raise ConfigError("no such process")

    failing = Monitor(resident=broken)
    ended = threading.Event()

    def once(_: float) -> bool:
        return ended.is_set() or ended.set() is not None

    def fails() -> None:
        with failing.watching(1.0, once):
            ended.wait(10)

    with pytest.raises(ConfigError, match="no such process"):
        fails()


def test_the_real_readers() -> None:
    here = resident_reader()()
    assert here.all > 10 << 20
    assert here.unique is None or 0 < here.unique <= here.all
    assert here.proportional is None or 0 < here.proportional <= here.all
    assert resident_reader(os.getpid(), detailed=False)().unique is None
    for number in (2**22 + 1, -3):
        with pytest.raises(ConfigError, match="there is no process"):
            resident_reader(number)


class Marked:
    """A type of which only this test has objects."""

    def __init__(self) -> None:
        self.numbers = np.zeros(1000)

    def __sizeof__(self) -> int:
        raise AssertionError("code of the program is run by a census")


@pytest.mark.slow
def test_a_census_counts_objects_arrays_and_tensors() -> None:
    before = take_census()
    held = [Marked() for _ in range(20)]
    tensors = [torch.zeros(1000) for _ in range(5)]
    views = [tensor[5:] for tensor in tensors]
    after = take_census()
    name = f"{__name__}.Marked"
    assert name not in before.types
    assert after.types[name][0] == 20
    arrays = [census.types["numpy.ndarray"] for census in (before, after)]
    assert arrays[1][0] - arrays[0][0] == 20
    assert arrays[1][1] - arrays[0][1] >= 20 * 8000
    assert after.tensors - before.tensors == 10
    assert after.tensor_bytes - before.tensor_bytes == 5 * 4000
    assert after.objects > before.objects
    assert after.bytes - before.bytes > 20 * 8000
    del held, views


@pytest.mark.slow
def test_a_tensor_of_torchs_tracer_holds_no_memory() -> None:
    before = take_census()
    with FakeTensorMode():
        tensor = torch.zeros(1000)
    after = take_census()
    assert tensor.device.type == "cpu"
    assert after.tensors - before.tensors == 1
    assert after.tensor_bytes == before.tensor_bytes


def test_tracing_names_the_line_and_ends() -> None:
    assert not tracemalloc.is_tracing()
    with tracing() as trace:
        held = [bytes(10_000) for _ in range(50)]
        array = np.zeros(1 << 17)
        tensor = torch.ones(1 << 21)
        sites = trace.growth()
    assert not tracemalloc.is_tracing()
    found = [site for site in sites if site.place.startswith(__file__)]
    assert found[0].bytes >= array.nbytes
    assert found[1].bytes >= 500_000
    assert found[1].objects >= 50
    assert max(site.bytes for site in sites) < tensor.nbytes  # not seen, as promised
    with pytest.raises(ConfigError, match="no longer traced"):
        trace.growth()
    del held


def test_tracing_leaves_a_running_trace_alone() -> None:
    tracemalloc.start()
    try:
        with tracing():
            pass
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()
    with pytest.raises(ConfigError, match="at least 1 frame"), tracing(0):
        pass
    assert not tracemalloc.is_tracing()


def test_bad_input() -> None:
    for field in ("resident", "unique", "pools", "blocks", "tensors"):
        with pytest.raises(ConfigError, match=f"limit of {field} must be at least 1"):
            MemoryLimits(**{field: 0})
    for options in ({"census_every": -1}, {"keep": 7}):
        with pytest.raises(ConfigError, match="keeps at least 8"):
            Monitor(**options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="interval must be positive"):
        Monitor().watching(0.0)


def test_the_ring_of_censuses_gives_back_what_it_was_given() -> None:
    ring = CensusRing()
    given = {
        number: Census({"a": (number + 1, 10 * number), f"b{number}": (1, 8)}, number, 4 * number)
        for number in range(CENSUSES + 5)
    }
    for number, census in given.items():
        ring.add(number, census)
    assert ring.censuses() == {number: given[number] for number in range(5, CENSUSES + 5)}
    ring.add(999, Census({f"t{number}": (1, 2) for number in range(TYPES)}, 0, 0))
    types = ring.censuses()[999].types
    known = len(given) + 2  # a, one b per census, and the others
    assert len(types) == TYPES - known + 1
    assert types[OTHERS] == (known, 2 * known)
