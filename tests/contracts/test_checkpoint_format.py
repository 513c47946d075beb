"""The contract of checkpoint formats (`compiler/checkpoints/base.py`), run by each on a small real file."""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.compiler import checkpoints
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, UntrustedError
from tests.checkpoints import sb3_zips as zips
from tests.contracts.formats import FORMATS, GENERAL, SETTINGS, small

FOLDERS = {"folder"}
"""What is no file: tests/checkpoints/frameworks has the folders that are agents."""

every_format = pytest.mark.parametrize("name", FORMATS)


@pytest.fixture
def path(tmp_path: Path, name: str) -> Path:
    """The file, alone in its folder, under a name that says nothing."""
    found = tmp_path / "agent.bin"
    FORMATS[name].write(small(), found)
    return found


@pytest.fixture
def unchanged(path: Path) -> Iterator[None]:
    """Fails when the file or its folder is another afterwards."""
    kept, modified = path.read_bytes(), path.stat().st_mtime_ns
    path.chmod(0o444)
    yield
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (kept, modified)
    assert list(path.parent.iterdir()) == [path]


def _readers(name: str, path: Path) -> list[Callable[[], object]]:
    """Both ways to read the file."""
    of = FORMATS[name]
    return [
        lambda: detect.load("agent", of.config(path)),
        lambda: detect.describe(path, trust=of.trusted),
    ]


def _refused(read: Callable[[], object], path: Path) -> str:
    """What a CheckpointError says, after checking that it is one line that begins with the path."""
    with pytest.raises(CheckpointError) as caught:
        read()
    text = str(caught.value)
    assert text.startswith(f"{path}")
    assert "\n" not in text
    return text.removeprefix(f"{path}")


def _outputs(network: nn.Module, batch: int) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = network(torch.randn(batch, 3, generator=torch.Generator().manual_seed(batch)))
    return output


def test_every_format_of_the_folder_is_here() -> None:
    """A module with a FORMAT in it is one, as is each word that `detect` knows; so is each setting."""
    found = set()
    for item in pkgutil.walk_packages(checkpoints.__path__, f"{checkpoints.__name__}."):
        format_name = vars(importlib.import_module(item.name)).get("FORMAT")
        found |= set() if format_name is None else {format_name}
    assert found == FORMATS.keys()
    assert {of.found for of in FORMATS.values()} == set(get_args(detect.Format)) - FOLDERS
    assert AgentConfig.model_fields.keys() - GENERAL == SETTINGS.keys()


@every_format
@pytest.mark.usefixtures("unchanged")
class TestWhole:
    def test_its_content_tells_what_it_is(self, name: str, path: Path) -> None:
        assert detect.detect(path) == FORMATS[name].found

    def test_it_computes_what_was_saved(self, name: str, path: Path) -> None:
        found = detect.load("agent", FORMATS[name].config(path))
        assert isinstance(found, Checkpoint)
        assert found.name == "agent"
        assert [(spec.shape, spec.dtype) for spec in found.inputs] == [((3,), "float32")]
        original = FORMATS[name].computes(small())
        for batch in (1, 2, 9):
            torch.testing.assert_close(_outputs(found.module, batch), _outputs(original, batch))
        if found.scores is not None:
            torch.testing.assert_close(_outputs(found.scores, 9), _outputs(small(), 9))

    def test_it_is_handed_on_ready(self, name: str, path: Path) -> None:
        found = detect.load("agent", FORMATS[name].config(path))
        assert not any(module.training for module in found.module.modules())
        assert not any(value.requires_grad for value in found.module.parameters())
        assert {value.device.type for value in found.module.state_dict().values()} == {"cpu"}

    def test_its_source_is_the_file(self, name: str, path: Path) -> None:
        source = detect.load("agent", FORMATS[name].config(path)).source
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert (source.format, source.weights, source.sha256) == (name, "file", digest)
        assert source.path is not None
        assert Path(source.path).name == path.name
        assert json.loads(json.dumps(source.to_json())) == source.to_json()

    def test_the_caller_owns_it(self, name: str, path: Path) -> None:
        one, other = (detect.load("agent", FORMATS[name].config(path)) for _ in range(2))
        before = copy.deepcopy(other.module.state_dict())
        with torch.no_grad():
            for value in one.module.parameters():
                value.fill_(9.0)
        after = other.module.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)

    def test_describing_runs_nothing(self, name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(nn.Module, "__call__", None)  # whoever runs a network now fails
        described = detect.describe(path, trust=FORMATS[name].trusted)
        json.dumps(described, allow_nan=False)
        content = path.read_bytes()
        assert described["path"] == str(path)
        assert described["format"] == name
        assert described["size"] == len(content)
        assert described["sha256"] == hashlib.sha256(content).hexdigest()
        assert described["parameters"] == sum(value.numel() for value in small().parameters())

    def test_what_says_nothing_about_it_is_refused_by_name(self, name: str, path: Path) -> None:
        of = FORMATS[name]
        assert of.takes <= SETTINGS.keys()
        for setting in SETTINGS.keys() - of.takes:
            config = of.config(path, **{setting: SETTINGS[setting]})
            if setting == "stepwise":  # which cannot be given together with others
                config = AgentConfig.model_validate({"checkpoint": path, "stepwise": True})
            said = _refused(lambda config=config: detect.load("agent", config), path)
            assert f": '{setting}' cannot be used with" in said
            assert said.endswith("; remove it")

    def test_what_it_needs_is_asked_for_by_name(self, name: str, path: Path) -> None:
        of = FORMATS[name]
        for setting in of.given:
            config = AgentConfig.model_validate(
                {"checkpoint": path, "trust": of.trusted}
                | {other: SETTINGS[other] for other in of.given - {setting}}
            )
            assert setting in _refused(lambda config=config: detect.load("agent", config), path)


@every_format
class TestDamaged:
    def test_cut_short(self, name: str, path: Path) -> None:
        whole = path.read_bytes()
        for length in (1, 9, len(whole) // 3, len(whole) // 2, len(whole) - 40, len(whole) - 1):
            path.write_bytes(whole[:length])
            for read in _readers(name, path):
                _refused(read, path)
            assert path.read_bytes() == whole[:length]

    def test_no_file_or_an_empty_one(self, name: str, path: Path) -> None:
        path.write_bytes(b"")
        for read in _readers(name, path):
            assert "is empty (0 bytes)" in _refused(read, path)
        path.unlink()
        for read in _readers(name, path):
            assert "no such file" in _refused(read, path)
        path.mkdir()
        for read in _readers(name, path):
            assert "is a folder" in _refused(read, path)

    @pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
    def test_weights_that_are_no_numbers(self, name: str, path: Path, number: float) -> None:
        network = small()
        with torch.no_grad():
            network[2].weight[1, 0] = number
        path.unlink()
        FORMATS[name].write(network, path)
        said = _refused(_readers(name, path)[0], path)
        assert ("1 NaN and 0 inf" if np.isnan(number) else "0 NaN and 1 inf") in said


@every_format
def test_a_file_that_is_not_trusted_runs_nothing(name: str, tmp_path: Path) -> None:
    """Where a format can hold an object that runs code when it is read, it is refused, and described so."""
    marker, path = tmp_path / "ran", tmp_path / "agent.bin"
    network = small()
    network.more = zips.Touch(marker)
    match name:
        case "pickled":
            torch.save(network, path)
        case "state_dict":
            torch.save({"actors": [network.state_dict()], "more": network.more}, path)
        case "sb3":
            made = {"action_net.weight": torch.zeros(2, 3), "more": network.more}
            zips.write_zip(path, zips.ON_POLICY, zips.box(-1, 1, (3,)), zips.discrete(2), made)
        case _:
            FORMATS[name].write(small(), path)  # holds no objects: tests/readers has what it may hold
    config = FORMATS[name].config(path, trust=False)
    if name in ("pickled", "state_dict", "sb3"):
        with pytest.raises(UntrustedError, match=f"^{path}.*--trust") as caught:
            detect.load("agent", config)
        assert "\n" not in str(caught.value)
    else:
        detect.load("agent", config)
    if name != "sb3":
        json.dumps(detect.describe(path))
    assert not marker.exists()
