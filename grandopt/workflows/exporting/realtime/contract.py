"""What was found out about the real-time contract of a library, as data and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from grandopt.workflows.exporting.realtime.counting import Counted

Status = Literal["holds", "fails", "not checked"]

PROMISED = (
    "A call of {symbol}_run with a batch of 1 allocates nothing, takes no lock, makes no system call, and, "
    "for the same pointers, is the same instructions whatever numbers its inputs hold. How long these take "
    "is not promised: caches, clock and interrupts are the machine's, and some processors divide some "
    "numbers slower."
)
UNCLAIMED = (
    "No real-time contract is claimed: this build may take branches that depend on numbers, such as not to "
    "multiply by zeros. `grandopt optimize --realtime` makes one that takes none."
)
WIDTH = 112
"""Of the lines of a comment in a header."""


@dataclass(frozen=True)
class Check:
    """One of the things that were looked at, and what came out; some were at one feature level alone."""

    what: str
    status: Status
    found: str
    level: str | None = None


@dataclass(frozen=True)
class Contract:
    """All checks of the library of `symbol`, and what was counted of calls by feature level.

    `libraries` has the SHA-256 (hex) of the files that were looked at, by name.
    """

    symbol: str
    libraries: Mapping[str, str]
    checks: tuple[Check, ...]
    counted: Mapping[str, Counted]

    @property
    def status(self) -> Status:
        """That of the whole: it fails with one check, and holds with all."""
        states = {check.status for check in self.checks}
        return "fails" if "fails" in states else "not checked" if "not checked" in states else "holds"

    @property
    def objections(self) -> list[str]:
        """What speaks against relying on it, a line for each: all that fails, and what was not checked, but
        for levels that this machine cannot run where it can run another."""
        return [
            f"{check.status}: {check.what}: {check.found}"
            for check in self.checks
            if check.status == "fails"
            or (check.status == "not checked" and (check.level is None or not self.counted))
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain data, as it lies beside the header."""
        return {
            "contract": PROMISED.format(symbol=self.symbol),
            "status": self.status,
            "batch": 1,
            "libraries": dict(self.libraries),
            "checks": [asdict(check) for check in self.checks],
            "levels": {level: asdict(counted) for level, counted in self.counted.items()},
        }

    def comment(self) -> str:
        """The same as a comment in C."""
        first = {
            "holds": f"Real-time contract, all of it checked. {PROMISED}",
            "fails": f"The real-time contract was asked for, and DOES NOT HOLD (see below). {UNCLAIMED}",
            "not checked": f"Real-time contract, of which not all could be checked (see below). {PROMISED}",
        }[self.status]
        lines = [f"{check.status}: {check.what}: {check.found}" for check in self.checks]
        lines += [
            f"{level}: {found.instructions} instructions a call, {found.stack_bytes} bytes of stack"
            for level, found in self.counted.items()
        ]
        return _comment([first.format(symbol=self.symbol), *(f"  {line}" for line in lines)])


def unclaimed() -> str:
    """The comment of a library that is not under the contract."""
    return _comment([UNCLAIMED])


def _comment(paragraphs: list[str]) -> str:
    lines: list[str] = []
    for paragraph in paragraphs:
        indent = len(paragraph) - len(paragraph.lstrip())
        line = ""
        for word in paragraph.replace("*/", "").split():
            if len(line) + len(word) > WIDTH:
                lines.append(line)
                line = ""
            line = f"{line} {word}" if line else " " * indent + word
        lines.append(line)
    return "\n".join(["/* " + lines[0], *(f" * {line}" for line in lines[1:]), " */", ""])
