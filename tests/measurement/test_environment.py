"""What this machine and its control groups grant, read from real and from written files."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest

from grandopt import cgroup
from grandopt.cgroup import cpu_quota, memory_limit
from grandopt.errors import MeasurementError
from grandopt.measurement import environment as machine
from grandopt.measurement.environment import available_cores, cpu_model, crowded, environment, governor
from grandopt.measurement.measure import measure
from grandopt.measurement.process.pool import WorkerPool
from grandopt.measurement.settings import MeasurementSettings
from grandopt.measurement.subject import Subject
from tests.fakes_measurement import ring


def test_the_environment_is_plain_and_repeatable() -> None:
    first, second = environment(), environment()
    assert first.identity == second.identity
    assert json.loads(json.dumps(dataclasses.asdict(first)))["python"].split()[1] == sys.version.split()[0]
    assert 1 <= first.available_cores <= first.cores <= (os.cpu_count() or 1)
    assert first.available_cores == available_cores()
    assert first.libraries["numpy"]
    assert first.memory_bytes > 1 << 20


def test_machines_that_look_alike_are_told_apart_by_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRANDOPT_MACHINE", raising=False)
    plain = environment().identity
    monkeypatch.setenv("GRANDOPT_MACHINE", "rack 2")
    assert environment().identity != plain
    monkeypatch.setenv("GRANDOPT_MACHINE", "")
    assert environment().identity == plain


def test_measuring_imports_no_engine() -> None:
    code = (
        "import importlib, pkgutil, sys, grandopt.measurement as whole\n"
        "for module in pkgutil.walk_packages(whole.__path__, 'grandopt.measurement.'):\n"
        "    importlib.import_module(module.name)\n"
        "from grandopt.measurement.environment import environment\n"
        "environment()\n"
        "sys.exit('torch' in sys.modules or 'optuna' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/job/step\n", {"job/step/cpu.max": "max 100000\n", "job/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/job/step\n", {"job/step/cpu.max": "50000 100000\n", "cpu.max": "400000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/elsewhere\n", {}, None),
        (
            "3:cpu,cpuacct:/docker/ab\n0::/\n",
            {
                "cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "200000",
                "cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000",
            },
            2.0,
        ),
        # Inside a container the group's own path is often not mounted, only its root is.
        ("1:cpu:/docker/ab\n", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3.0),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("1:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "100", "cpu/cpu.cfs_period_us": "100"}, None),
    ],
)
def test_the_lowest_quota_on_the_way_up_counts(
    tmp_path: Path, membership: str, files: dict[str, str], quota: float | None
) -> None:
    write(tmp_path, {"self": membership, **{f"mount/{name}": text for name, text in files.items()}})
    assert cpu_quota(tmp_path / "self", tmp_path / "mount") == quota


@pytest.mark.parametrize(("quota", "cores"), [("50000", 1), ("150000", 1), ("250000", 2), ("max", 3)])
def test_threads_and_processes_stay_within_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    write(tmp_path, {"self": "0::/job\n", "mount/job/cpu.max": f"{quota} 100000\n"})
    monkeypatch.setattr(cgroup, "cpu_quota", partial(cpu_quota, tmp_path / "self", tmp_path / "mount"))
    monkeypatch.setattr(machine, "affinity", lambda: 3)
    assert available_cores() == environment().available_cores == cores
    with WorkerPool(1) as pool, pytest.raises(MeasurementError, match=rf"this process may use {cores} core"):
        measure([Subject("agent", tmp_path)], ring(), MeasurementSettings.quick(threads=cores + 1), pool)


def test_other_work_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = os.cpu_count() or 1
    monkeypatch.setattr(psutil, "getloadavg", lambda: (cores + 2.5, 0.0, 0.0))
    assert crowded(own=2)
    assert not crowded(own=3)


def test_memory_limits_of_both_versions(tmp_path: Path) -> None:
    write(tmp_path, {"v2": "0::/job\n", "m2/job/memory.max": "max\n", "m2/memory.max": "4096\n"})
    write(tmp_path, {"v1": "4:memory:/job\n", "m1/memory/job/memory.limit_in_bytes": "8192\n"})
    assert memory_limit(tmp_path / "v2", tmp_path / "m2") == 4096
    assert memory_limit(tmp_path / "v1", tmp_path / "m1") == 8192
    assert memory_limit(tmp_path / "absent", tmp_path / "m1") is None
    assert cpu_quota(tmp_path / "absent", tmp_path) is None


def test_the_processor_is_named_as_the_kernel_names_it(tmp_path: Path) -> None:
    write(tmp_path, {"x86": "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n", "none": "processor\t: 0\n"})
    assert cpu_model(tmp_path / "x86") == "Some CPU @ 3 GHz"
    assert cpu_model(tmp_path / "none") is None


def test_governors_are_listed_once(tmp_path: Path) -> None:
    assert governor(tmp_path) is None
    for core, name in enumerate(["powersave", "performance", "performance"]):
        write(tmp_path, {f"cpu{core}/cpufreq/scaling_governor": f"{name}\n"})
    assert governor(tmp_path) == "performance, powersave"
