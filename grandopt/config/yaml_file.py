"""A YAML text as data, within the limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from grandopt import limits
from grandopt.errors import ConfigError, first_line

BROKEN = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
"""What PyYAML is seen to raise on numbers, dates and keys that are none, beside its own errors."""


def parsed(
    text: str, path: Path, loader: type[yaml.SafeLoader] = yaml.SafeLoader
) -> tuple[yaml.Node | None, Any]:
    """The nodes of the text, which know their lines, and the data that they stand for.

    `loader` may know more tags than the plain ones. Raises ConfigError naming file and line for text that is
    no YAML, and when its values, each alias counted as what it stands for, are more or deeper than the
    limits.
    """
    try:
        root = yaml.compose(text, Loader=loader)
        if root is None:
            return None, None
        _require_bounded(root, path)
        return root, yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(f"{path}{line}: not valid YAML: {problem}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: is nested more than {limits.DEPTH} levels deep") from error
    except BROKEN as error:
        raise ConfigError(f"{path}: not valid YAML: {first_line(error)}") from error


def _require_bounded(root: yaml.Node, path: Path) -> None:
    """Count the values below every node once, children first, so that shared ones cost nothing."""
    counts: dict[int, int] = {}
    open_nodes: set[int] = set()
    pending: list[tuple[yaml.Node, bool]] = [(root, False)]
    while pending:
        node, children_done = pending.pop()
        if children_done:
            open_nodes.discard(id(node))
            counts[id(node)] = 1 + sum(counts[id(child)] for child in _children(node))
            if counts[id(node)] > limits.CONFIG_VALUES:
                raise ConfigError(
                    f"{_place(node, path)}: comes to more than {limits.CONFIG_VALUES:,} values with its "
                    f"aliases resolved, which is the most that is read"
                )
        elif id(node) in open_nodes:
            raise ConfigError(f"{_place(node, path)}: an alias contains itself")
        elif id(node) not in counts:
            open_nodes.add(id(node))
            if len(open_nodes) > limits.DEPTH:
                raise ConfigError(f"{_place(node, path)}: is nested more than {limits.DEPTH} levels deep")
            pending.append((node, True))
            pending += [(child, False) for child in _children(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _place(node: yaml.Node, path: Path) -> str:
    return f"{path}:{node.start_mark.line + 1}"
