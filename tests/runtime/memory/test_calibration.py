"""What is decided from measured times."""

from __future__ import annotations

import pytest

from grandopt.errors import ConfigError
from grandopt.runtime.memory import calibration
from grandopt.runtime.memory.blocks.arrays import ArrayBlocks
from grandopt.runtime.memory.break_even import PoolBreakEven, SizeTime, decide
from grandopt.runtime.memory.calibration import calibrate, calibrated


def times(*ratios: float) -> list[SizeTime]:
    """Sizes 1, 2, 4 … KiB; a ratio is the pool's time in shares of that of fresh memory."""
    return [SizeTime(1024 << place, 1000.0, 1000.0 * ratio) for place, ratio in enumerate(ratios)]


@pytest.mark.parametrize(
    ("ratios", "pays_from"),
    [
        ((2.0, 1.0, 0.8, 0.5), 4096),
        ((0.5, 0.5, 0.5, 0.5), 1024),
        ((0.5, 2.0, 0.5, 0.5), 4096),  # an exception among the small ones
        ((2.0, 0.5, 0.5, 0.95), None),  # less than the margin at the largest
        ((), None),
    ],
)
def test_the_pool_pays_from_where_it_is_faster_at_every_larger_size(
    ratios: tuple[float, ...], pays_from: int | None
) -> None:
    break_even = decide(times(*ratios), 4)
    assert break_even.pays_from == pays_from
    assert [break_even.pays(1023), break_even.pays(1 << 40)] == [False, pays_from is not None]
    assert break_even.reason


def test_the_reason_names_the_figures() -> None:
    break_even = decide([SizeTime(1 << 20, 200_000.0, 62_500.0)], 4)
    assert (
        break_even.reason == "faster from 1 MiB on: 62.5 µs pooled, 200 µs fresh at 1 MiB, 4 held at a time"
    )
    break_even = decide([SizeTime(1 << 20, 2e6, 2e6)], 1)
    assert break_even.reason.startswith("not faster by 10 % up to 1 MiB: 2 ms pooled, 2 ms fresh")


def test_a_real_measurement_looks_at_every_size() -> None:
    break_even = calibrate(ArrayBlocks(), sizes=(4096, 1 << 16), live=2, rounds=3, max_seconds=60.0)
    assert [time.size for time in break_even.times] == [4096, 1 << 16]
    assert all(time.fresh_ns > 0 and time.pooled_ns > 0 for time in break_even.times)
    assert break_even == decide(break_even.times, 2)


def test_the_clock_decides() -> None:
    """The pool's turn takes a tenth of the time of the fresh one's."""
    now = [0]

    class Slow(ArrayBlocks):
        def fresh(self, dtype: str, shape: tuple[int, ...]):  # type: ignore[no-untyped-def]
            now[0] += 1000
            return super().fresh(dtype, shape)

        def write(self, value) -> None:  # type: ignore[no-untyped-def]
            now[0] += 100

    break_even = calibrate(Slow(), sizes=(64, 128), live=3, rounds=5, max_seconds=60.0, clock=lambda: now[0])
    assert [(time.fresh_ns, time.pooled_ns) for time in break_even.times] == [(1100.0, 100.0)] * 2
    assert break_even.pays_from == 64
    # Time is over after the first size, which still has its rounds.
    break_even = calibrate(Slow(), sizes=(64, 128), live=3, rounds=5, max_seconds=1e-6, clock=lambda: now[0])
    assert [time.size for time in break_even.times] == [64]


def test_a_process_measures_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measured(blocks: ArrayBlocks) -> PoolBreakEven:
        asked.append(blocks.kind)
        return PoolBreakEven(512, "measured")

    monkeypatch.setattr(calibration, "calibrate", measured)
    monkeypatch.setattr(calibration, "_known", {})
    pools = [calibrated(ArrayBlocks(), 1 << 20, debug=True) for _ in range(2)]
    assert asked == ["array"]
    assert [pool.stats().break_even.pays_from for pool in pools] == [512, 512]


@pytest.mark.parametrize("options", [{"sizes": ()}, {"sizes": (0,)}, {"live": 0}, {"rounds": 0}])
def test_nothing_to_measure_is_an_error(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="nothing to measure"):
        calibrate(ArrayBlocks(), **options)  # type: ignore[arg-type]
