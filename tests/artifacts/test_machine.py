"""What the machine offers, read from the kernel's own text."""

from __future__ import annotations

import platform

from grandopt.artifacts.machine import CPUINFO, architecture, cpu_features, parse_cpu_features


def test_features_are_those_of_every_core() -> None:
    text = "processor\t: 0\nflags\t\t: fpu sse2 avx2\n\nprocessor\t: 1\nflags\t\t: fpu sse2\n"
    assert parse_cpu_features(text) == {"fpu", "sse2"}
    assert parse_cpu_features("processor : 0\nFeatures : fp asimd\n") == {"fp", "asimd"}
    assert parse_cpu_features("model name : flags of nothing\n") == frozenset()


def test_this_machine() -> None:
    assert architecture() == {"AMD64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine(), platform.machine()
    )
    assert bool(cpu_features()) == CPUINFO.is_file()
