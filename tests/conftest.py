"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import itertools
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

# The machines that tests run on are shared: an example that takes long there says nothing.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

TESTS = Path(__file__).resolve().parent
THAWING = ("api", "measurement", "runtime", "serving", "suites")
"""Where engines end, or measurements, which thaw all objects."""
ENDED = itertools.count(1)
LONGEST = (
    "workflows/test_interruption.py",
    "distributed/ray/test_cluster.py",
    "suites/test_serving_suite.py",
    "workflows/test_benchmark.py",
    "workflows/test_sb3_end_to_end.py",
    "reasons/test_jobs.py",
    "native/test_sanitizers.py",
    "native/test_level_programs.py",
    "workflows/test_many_machines.py",
    "workflows/test_verdicts.py",
    "workflows/test_api.py",
    "api/test_performance_engine.py",
    "workflows/test_final_decision.py",
    "native/test_quantized.py",
    "bounds/test_soundness.py",
    "native/test_dtypes.py",
    "cli/test_bad_input.py",
    "workflows/test_reproduce.py",
    "workflows/test_candidate_set.py",
    "native/test_attention.py",
    "recurrent/test_engines.py",
    "serving/dashboard/test_browser.py",
    "engines/test_waiting.py",
    "engines/test_startup.py",
    "tuning/test_many_machines.py",
)
"""The files that take longest, which begin first: one of them begun last would have a processor alone."""
WITHOUT_BFLOAT16 = "--without-bfloat16"
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Processors that others have."""
    parser.addoption(WITHOUT_BFLOAT16, action="store_true", help="as on a processor without bfloat16")


def pytest_configure(config: pytest.Config) -> None:
    """Hide, before any test is imported, what the options say that the processor lacks."""
    if config.getoption(WITHOUT_BFLOAT16):
        left = {name: has for name, has in torch.cpu.get_capabilities().items() if "bf16" not in name}
        torch.cpu.get_capabilities = left.copy


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in the order in which processes take them: the longest, then those of most tests."""
    tests = Counter(item.path for item in items)
    ranks = {TESTS / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (ranks.get(item.path, len(ranks)), -tests[item.path]))


def pytest_collection_finish() -> None:
    """What was imported stays to the end: no later collection of garbage need look at all of it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """An engine begins with a collection of all that is not frozen, and thaws what was when it ends."""
    result = yield
    if item.path.relative_to(TESTS).parts[0] in THAWING:
        if next(ENDED) % 50:
            gc.collect(1)  # what the test left is young
        else:
            gc.unfreeze()  # nothing that grew old all the same stays for long
            gc.collect()
        gc.freeze()
    return result


@pytest.fixture(scope="session")
def shared_checkpoints() -> Path:
    """The folder of real checkpoints beside the repository; skips when it is not there."""
    folder = SHARED / "checkpoints"
    if not folder.is_dir():
        pytest.skip("skipped: ../shared/checkpoints not found")
    return folder


@pytest.fixture(scope="session")
def shared_policies() -> Path:
    """The folder of real policies beside the repository; skips when it is not there."""
    folder = SHARED / "policies"
    if not folder.is_dir():
        pytest.skip("skipped: ../shared/policies not found")
    return folder


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The folder of inputs that broke a build, beside the repository; skips when it is not there."""
    folder = SHARED / "cases"
    if not folder.is_dir():
        pytest.skip("skipped: ../shared/cases not found")
    return folder


@pytest.fixture(scope="session")
def shared_traces() -> Path:
    """The folder of real cache traces beside the repository; skips when it is not there."""
    folder = SHARED / "traces"
    if not folder.is_dir():
        pytest.skip("skipped: ../shared/traces not found")
    return folder
