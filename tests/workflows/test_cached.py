"""A cache in front of an artifact."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grandopt import cached
from grandopt.api.cached import deploy, rounding_errors, settings_of
from grandopt.artifacts.artifact import read, write
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.cache import CacheConfig
from grandopt.config.engines import EagerOptions
from grandopt.config.profiles import PROFILES
from grandopt.errors import CacheError, ConfigError
from grandopt.runtime.cache.approximate import ApproximateKeys
from tests.small_agents import Policy, program

STATES = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("caching")
    artifact = build(program(Policy), Candidate("float32", EagerOptions()), Store(folder / "store"))
    return write(folder / "policy", artifact.manifest, artifact.payloads()).path


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    np.savez(tmp_path / "samples.npz", state=STATES)
    return tmp_path / "samples.npz"


def test_answers_outlive_the_process_in_a_folder(path: Path, tmp_path: Path) -> None:
    settings = CacheConfig(folder=tmp_path / "kept", compressed_mb=1)
    with_cache = cached(path, settings)
    first = [with_cache(state) for state in STATES[:20]]
    with_cache.close()
    with_cache = cached(path, settings)
    for state, answer in zip(STATES[:20], first, strict=True):
        np.testing.assert_array_equal(with_cache(state), answer)
    stats = with_cache.stats()
    assert [level.name for level in stats.levels] == ["memory", "compressed", "disk"]
    assert (stats.levels[2].counts.hits, stats.computed) == (20, 0)
    with_cache.close()


def test_a_new_build_is_deployed(path: Path, tmp_path: Path) -> None:
    with_cache = cached(path)
    with_cache(STATES[0])
    artifact = read(path)
    write(tmp_path / "same", artifact.manifest, artifact.payloads())
    assert deploy(with_cache, tmp_path / "same") == 0
    write(tmp_path / "newer", replace(artifact.manifest, threads=2), artifact.payloads())
    assert deploy(with_cache, tmp_path / "newer") == 1
    for _ in range(2):
        with_cache(STATES[0])
    assert with_cache.stats().computed == 2
    with_cache.close()


def test_steps_are_measured_and_bounded_by_the_profile(path: Path, samples: Path) -> None:
    fine = CacheConfig(steps={"state": 0.001})
    with_cache = cached(path, fine, samples=samples)
    exact = cached(path)
    state = STATES[0]
    near = with_cache(state)
    assert with_cache(state + np.float32(1e-5)) is not near
    np.testing.assert_allclose(near, exact(state), atol=0.001)
    assert with_cache.stats().computed == 1
    keys = ApproximateKeys("any", exact.signature, {"state": 0.001})
    (error,) = rounding_errors(exact, keys, [STATES], PROFILES["aggressive"].limits)
    assert error.relative_l2 is not None
    assert 0 < error.relative_l2 < 0.001
    for policy in (with_cache, exact):
        policy.close()
    with pytest.raises(ConfigError, match=r"too coarse for profile 'basic': output .* is off by 0\.\d+"):
        cached(path, CacheConfig(steps={"state": 1.0}), samples=samples, profile="basic")
    with pytest.raises(ConfigError, match="need samples"):
        cached(path, fine)
    few = samples.with_name("few.npz")
    np.savez(few, state=STATES[:10])
    with pytest.raises(ConfigError, match="10 samples are too few"):
        cached(path, fine, samples=few)
    with pytest.raises(ConfigError, match="no input"):
        cached(path, CacheConfig(steps={"states": 0.1}), samples=samples)


def test_settings_come_from_the_file_and_mistakes_name_their_place(tmp_path: Path) -> None:
    file = tmp_path / "grandopt.yaml"
    file.write_text("cache:\n  policy: lru\n  folder: kept\n  steps: {state: [0.5, 0]}\n")
    settings = settings_of(file)
    assert settings.folder == tmp_path / "kept"
    assert (settings.policy, settings.steps) == ("lru", {"state": [0.5, 0]})
    for line, message in (
        ("ttl_s: -1", "greater than 0"),
        ("ttl_s: .inf", "finite"),
        ("entries: 0", "greater than or equal to 1"),
        ("policy: fifo", "adaptive"),
        ("polici: lru", "did you mean 'policy'"),
        ("steps: {state: -1}", "must be 0 or a positive number"),
    ):
        file.write_text(f"cache:\n  {line}\n")
        with pytest.raises(ConfigError, match=message) as caught:
            settings_of(file)
        assert str(caught.value).startswith(f"{file}:2: cache")
        assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_made_is_one_error(path: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("precious")
    with pytest.raises(CacheError, match="is no cache"):
        cached(path, CacheConfig(folder=tmp_path / "work"))
    with pytest.raises(ConfigError, match="no Redis URL"):
        cached(path, CacheConfig(redis="http://nowhere"))


def test_it_imports_no_torch_by_itself() -> None:
    code = "import sys, grandopt; grandopt.cached; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
