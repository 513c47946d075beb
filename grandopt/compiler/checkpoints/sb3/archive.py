"""The zip as SB3 saved it: JSON text, a state dict, a version."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from grandopt import limits
from grandopt.compiler.checkpoints import weights
from grandopt.compiler.checkpoints.module import wrappers
from grandopt.compiler.checkpoints.sb3.spaces import LITERAL_ERRORS
from grandopt.compiler.checkpoints.vetting import zip_archive
from grandopt.compiler.checkpoints.weight_files import torch_file
from grandopt.compiler.checkpoints.weight_files.state_dict import is_state_dict
from grandopt.errors import CheckpointError

CLASS_TEXT = re.compile(r"<class '([\w.<>]+)'>")
LONGEST_LITERAL = 20_000
"""Characters of a value of `policy_kwargs`; a longer one stays text."""

METHOD_TEXT = re.compile(r"<function (\w+)\.\w+ at 0x")


@dataclass(frozen=True)
class Sb3Archive:
    """What is in the zip.

    `data` is its JSON text: SB3 pickles what is not plain, under ":serialized:", and writes the fields of
    the object as text beside it. Only that text is read. `tensors` is `policy.pth`, on the CPU.
    """

    path: Path
    data: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]
    version: str | None

    @property
    def policy_module(self) -> str:
        """The module that defines the policy class, "" where the text does not say."""
        return str(self._policy_class().get("__module__", ""))

    @property
    def policy_class(self) -> str:
        """The name of the policy class, read off the text of its methods; "" where there is none."""
        own = self._policy_class()
        ordered = [own.get("__init__"), *own.values()]
        found = (METHOD_TEXT.search(text) for text in ordered if isinstance(text, str))
        return next((match.group(1) for match in found if match), "")

    @property
    def policy_doc(self) -> str:
        """The docstring of the policy class, "" where there is none."""
        return str(self._policy_class().get("__doc__") or "")

    def _policy_class(self) -> Mapping[str, Any]:
        own = self.data.get("policy_class")
        return own if isinstance(own, Mapping) else {}

    def policy_argument(self, name: str) -> Any:
        """A value of `policy_kwargs` as Python data, None where it was not set.

        Values that SB3 wrote as text come back as data where the text is a literal ("False", "{'a': 1}"),
        and as the text itself otherwise ("<class 'torch.nn.modules.activation.ELU'>").
        """
        arguments = self.data.get("policy_kwargs")
        value = arguments.get(name) if isinstance(arguments, Mapping) else None
        if isinstance(value, str) and len(value) <= LONGEST_LITERAL:
            try:
                return ast.literal_eval(value)
            except LITERAL_ERRORS:
                return value
        return value

    def class_argument(self, name: str) -> str | None:
        """The dotted name of a class given in `policy_kwargs`, None where none was given.

        Raises CheckpointError when something else was given (a lambda, a partial).
        """
        value = self.policy_argument(name)
        if value is None:
            return None
        match = CLASS_TEXT.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise CheckpointError(
                f"{self.path}: policy_kwargs[{name!r}] is {value!r}, which is no class; what it computes is "
                f"not in the zip's text"
            )
        return match.group(1)


def open_archive(path: Path) -> Sb3Archive:
    """Read the zip at `path`.

    Raises CheckpointError when the zip is damaged, its JSON or its state dict cannot be read, or a weight
    is NaN or inf (naming the tensor); UntrustedError when `policy.pth` would have to be unpickled.
    """
    archive = zip_archive.opened(path)
    try:
        data = limits.document(archive.read("data"))
    except ValueError as error:
        raise CheckpointError(f"{path}: member 'data' is no JSON text: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: member 'data' is no JSON object")
    where = f"{path} (policy.pth)"
    tensors = torch_file.from_bytes(archive.read("policy.pth"), where)
    if not is_state_dict(tensors):
        raise CheckpointError(f"{where}: is no state dict")
    weights.require_finite(tensors.items(), where)
    version = None
    if "_stable_baselines3_version" in archive.names:
        version = archive.read("_stable_baselines3_version").decode("ascii", "replace").strip()
    return Sb3Archive(path, data, wrappers.matched(tensors, ()), version)
