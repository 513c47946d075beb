"""Which observation statistics lie beside a checkpoint, and which of them are surely its own.

Who trains with `VecNormalize` keeps its statistics in a file apart from the agent. RL Zoo writes
`NAME/vecnormalize.pkl` for `NAME.zip`, callbacks `rl_model_vecnormalize_500_steps.pkl` for
`rl_model_500_steps.zip`, repositories of single agents `vec_normalize.pkl`. Only names are looked at here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grandopt.compiler.checkpoints.base import FoundStatistics
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError

KIND = "VecNormalize"
NAME = re.compile(
    r"(?P<before>.*?)[._-]*vec[_-]?norm\w*?(?P<after>(?:[._-].*)?)\.(?:pkl|pickle)", re.IGNORECASE
)
PART_OF_A_RUN = re.compile(r"(?:(?:best|final|last|latest)[_-]?)?model|.*\d+_steps", re.IGNORECASE)
"""Names that training gives to one of several states of an agent: another's statistics may be its own."""

SETTINGS = ("config.yml", "args.yml")
"""What RL Zoo writes down beside an agent."""

TRAINED_NORMALISED = re.compile(r"\bnormalize\b['\"]?\s*[:\n]\s*-?\s*(?P<value>.+)", re.IGNORECASE)
MOST_FILES = 10_000
MOST_SETTINGS = 1_000_000
"""Bytes of a settings file that are looked at."""

Belongs = Literal["own", "perhaps", "no"]


@dataclass(frozen=True)
class Beside:
    """The file to fold in, if one was chosen, and the rest that was found, which is not used."""

    chosen: Path | None
    left: tuple[FoundStatistics, ...] = ()

    def found(self, reason: str | None = None) -> tuple[FoundStatistics, ...]:
        """All of them; `reason` says why even the chosen one is not used after all."""
        if self.chosen is None:
            return self.left
        return (FoundStatistics(str(self.chosen), KIND, used=reason is None, reason=reason), *self.left)


def choose(agent: AgentConfig, path: Path) -> Beside:
    """The statistics for the SB3 zip at `path` as the configuration wants them, "auto" being those found.

    Raises CheckpointError where files lie there that may be the agent's or may not, with the line that
    settles it.
    """
    found = _files(path)
    everything = [file for files in found.values() for file in files]
    match agent.vecnormalize:
        case "none":
            return Beside(None, tuple(_left(file, "'vecnormalize: none' was given") for file in everything))
        case Path() as given:
            others = [file for file in everything if not _same(file, given)]
            return Beside(given, tuple(_left(file, f"{given} was given instead") for file in others))
    own, perhaps = _distinct(found["own"]), _distinct(found["perhaps"])
    if len(own) == 1:
        rest = [file for file in everything if not _same(file, own[0])]
        return Beside(own[0], tuple(_left(file, f"{own[0].name} is the agent's own") for file in rest))
    if own or perhaps:
        raise CheckpointError(_question(path, own or perhaps))
    return Beside(None, _said_only(path))


def unused(path: Path) -> tuple[FoundStatistics, ...]:
    """Statistics beside a checkpoint that is no SB3 zip, into which they cannot be folded."""
    found = _files(path)
    reason = (
        "only an SB3 zip takes them; if this network expects normalised observations, normalise them before "
        "the call, or give a network that does"
    )
    return tuple(_left(file, reason) for file in (*found["own"], *found["perhaps"]))


def listed(path: Path) -> tuple[FoundStatistics, ...]:
    """What lies beside the SB3 zip at `path`; `used` says whether it would be without being asked for."""
    try:
        return choose(AgentConfig(checkpoint=path), path).found()
    except CheckpointError:
        found = _files(path)
        reason = "it may be this agent's own or another's; say which with --vecnormalize"
        return tuple(_left(file, reason) for file in (*found["own"], *found["perhaps"]))


def _files(path: Path) -> dict[Belongs, list[Path]]:
    """The statistics beside `path`, without those that are another checkpoint's."""
    folder = path.parent
    names, folders = _listing(folder)
    others = {name.rpartition(".")[0] for name in names if name.endswith(".zip")} - {path.stem}
    found: dict[Belongs, list[Path]] = {"own": [], "perhaps": [], "no": []}
    for name in names:
        whose = _owner(name)
        if whose is not None:
            found[_belongs(whose, path.stem, others)].append(folder / name)
    for name in folders:
        inner, _ = _listing(folder / name)
        if any(item.endswith(".zip") for item in inner):
            continue  # agents of their own lie there
        for item in inner:
            whose = _owner(item)
            if whose is not None:
                found[_belongs(whose or name, path.stem, others)].append(folder / name / item)
    del found["no"]
    return found


def _belongs(whose: str, stem: str, others: set[str]) -> Belongs:
    """Whether statistics named for the checkpoint `whose` ("": for none) are those of `stem`."""
    if whose == stem or (not whose and not others):
        return "own"
    if whose in others and not PART_OF_A_RUN.fullmatch(stem):
        return "no"
    return "perhaps"


def _owner(name: str) -> str | None:
    """The stem of the checkpoint that a statistics file is named for, "" for none; None for other files."""
    match = NAME.fullmatch(name)
    if match is None:
        return None
    before, after = match["before"], match["after"].lstrip("._-")
    return f"{before}_{after}" if before and after else before or after


def _listing(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the regular files and of the folders in `folder`, sorted; none if it is unreadable."""
    try:
        entries = sorted(folder.iterdir())[:MOST_FILES]
        return (
            [entry.name for entry in entries if entry.is_file()],
            [entry.name for entry in entries if entry.is_dir()],
        )
    except OSError:
        return [], []


def _distinct(files: list[Path]) -> list[Path]:
    """The files without copies of one another."""
    kept: list[Path] = []
    for file in files:
        if not any(_same(file, other) for other in kept):
            kept.append(file)
    return kept


def _same(one: Path, other: Path) -> bool:
    try:
        if one.samefile(other):
            return True
        return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def _left(file: Path, reason: str) -> FoundStatistics:
    return FoundStatistics(str(file), KIND, used=False, reason=reason)


def _question(path: Path, files: list[Path]) -> str:
    shown = ", ".join(str(file) for file in files[:3]) + (", …" if len(files) > 3 else "")
    return (
        f"{path}: observation statistics lie beside it that may be its own or another agent's ({shown}); say "
        f"which with `vecnormalize: FILE` or `vecnormalize: none` (--vecnormalize FILE|none)"
    )


def _said_only(path: Path) -> tuple[FoundStatistics, ...]:
    """What the run's settings say of statistics that are nowhere to be found."""
    for folder in (path.parent, path.with_suffix("")):
        for name in SETTINGS:
            file = folder / name
            if _says_normalised(file):
                reason = (
                    f"it says that the agent was trained on normalised observations, but no statistics lie "
                    f"beside {path.name}: it acts rightly on normalised observations only; give the file "
                    f"with --vecnormalize FILE"
                )
                return (FoundStatistics(str(file), f"{KIND} (settings only)", used=False, reason=reason),)
    return ()


def _says_normalised(file: Path) -> bool:
    """Whether RL Zoo's settings have `normalize`; as text, because their YAML names Python objects."""
    try:
        if not file.is_file() or file.stat().st_size > MOST_SETTINGS:
            return False
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    for match in TRAINED_NORMALISED.finditer(text):
        value = match["value"].strip().strip("'\"").lower()
        if value in ("false", "no", "null", "none", "~"):
            continue
        if re.search(r"norm_obs\W*[:=]\W*false", value):
            continue
        return True
    return False
