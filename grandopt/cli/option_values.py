"""The reading of the values that options have as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from grandopt.config.schema import BoundsConfig, Distribution, InputConfig, StateConfig


def parse_threads(text: str | None) -> int | Literal["auto"] | None:
    """The value of `--threads`; raises ConfigError unless it is "auto" or a whole number above 0."""
    if text is None:
        return None
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--threads must be a whole number of at least 1, or 'auto', got {text!r}")
    return int(text)


def parse_levels(text: str | None) -> tuple[str, ...] | None:
    """The names of `--levels`, each once; raises ConfigError where one is missing."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise ConfigError(f"--levels must read NAME,NAME, such as x86-64-v4,x86-64-v3, got {text!r}")
    return tuple(dict.fromkeys(names))


def parse_names(text: str | None) -> tuple[str, ...]:
    """The names of `--outputs`; raises ConfigError for an empty one."""
    names = () if text is None else tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ConfigError(f"--outputs must read NAME,NAME,…, got {text!r}")
    return names


def parse_states(texts: Sequence[str] | None) -> dict[str, StateConfig]:
    """The values of `--state` by input; raises ConfigError for one that is not INPUT=OUTPUT."""
    from grandopt.config.schema import StateConfig

    found: dict[str, StateConfig] = {}
    for text in texts or ():
        name, _, output = text.partition("=")
        if not name or not output:
            raise ConfigError(f"--state must read INPUT=OUTPUT, such as h_in=h_out, got {text!r}")
        if name in found:
            raise ConfigError(f"--state {name!r} is given twice")
        found[name] = StateConfig(output=output)
    return found


def parse_inputs(texts: Sequence[str] | None) -> tuple[InputConfig, ...]:
    """The values of `--input`, in order; raises ConfigError for one that is not NAME=SHAPE."""
    from grandopt.config.schema import InputConfig

    inputs: list[InputConfig] = []
    for text in texts or ():
        name, _, rest = text.partition("=")
        shape, _, dtype = rest.partition(":")
        sizes = shape.split("x")
        if not name or not all(size.isdecimal() and int(size) > 0 for size in sizes):
            raise ConfigError(f"--input must read NAME=SHAPE, such as state=7 or window=60x7, got {text!r}")
        if any(name == known.name for known in inputs):
            raise ConfigError(f"--input {name!r} is given twice")
        inputs.append(InputConfig(name=name, shape=tuple(int(size) for size in sizes), dtype=dtype or None))
    return tuple(inputs)


def parse_fix(texts: Sequence[str] | None) -> dict[str, bool | int | float | str]:
    """The values of `--fix`, by name; raises ConfigError for one that is not NAME=VALUE."""
    fixed: dict[str, bool | int | float | str] = {}
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise ConfigError(f"--fix must read NAME=VALUE, such as deterministic=true, got {text!r}")
        if name in fixed:
            raise ConfigError(f"--fix {name!r} is given twice")
        fixed[name] = _plain_value(value)
    return fixed


def _plain_value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_statistics(path: Path | None) -> Path | Literal["none"] | None:
    """The value of `--statistics`: the word, or a file."""
    return "none" if path == Path("none") else path


def parse_bounds(text: str | None) -> BoundsConfig | Literal["none"] | None:
    """The value of `--action-bounds`; raises ConfigError unless it is "none" or two numbers in order."""
    from pydantic import ValidationError

    from grandopt.config.schema import BoundsConfig

    if text is None:
        return None
    if text == "none":
        return "none"
    try:
        low, high = map(float, text.split(","))
        return BoundsConfig(low=low, high=high)
    except (ValueError, ValidationError) as error:
        raise ConfigError(
            f"--action-bounds must read LOW,HIGH, such as -1,1, or 'none', got {text!r}"
        ) from error


def parse_distribution(text: str | None) -> Distribution | None:
    """The value of `--distribution`; raises ConfigError for another than those of the configuration."""
    from grandopt.config.schema import Distribution

    for known in get_args(Distribution):
        if text == known:
            return known  # type: ignore[no-any-return]
    if text is not None:
        raise ConfigError(f"--distribution must be one of {', '.join(get_args(Distribution))}, got {text!r}")
    return None


def parse_vecnormalize(text: str) -> Path | Literal["auto", "none"]:
    """The value of `--vecnormalize`: one of the two words, or a file."""
    match text:
        case "auto":
            return "auto"
        case "none":
            return "none"
        case _:
            return Path(text)
