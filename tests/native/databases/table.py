"""What became of a database, kind by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.native.databases.trial import FAULTS
from tests.native.databases.worker import Row


@dataclass(frozen=True)
class Table:
    """All rows of a database."""

    rows: Sequence[Row]

    def verdicts(self) -> dict[str, str]:
        """One word per kind.

        "excluded": no sample is a network. A fault, if any sample is one. "exact": all samples are. "partly":
        some are exact, the others refused. Else what they ended as: "refused", "not captured".
        """
        endings: dict[str, list[str]] = {}
        for row in self.rows:
            endings.setdefault(row.kind, []).append(row.ending)
        return {kind: _verdict(found) for kind, found in endings.items()}

    def share(self) -> float:
        """Exact kinds among all that are networks."""
        counted = [verdict for verdict in self.verdicts().values() if verdict != "excluded"]
        return counted.count("exact") / max(1, len(counted))

    def faults(self) -> list[Row]:
        """Rows that must not be."""
        return [row for row in self.rows if row.ending in FAULTS]

    def refusals(self) -> list[Row]:
        """Rows that the native engine refused."""
        return [row for row in self.rows if row.ending == "refused"]

    def text(self) -> str:
        """Counts, then every kind that is not exact, with the first reason."""
        verdicts = self.verdicts()
        counts = Counter(verdicts.values())
        lines = [", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())]
        lines.append(f"exact: {self.share():.1%} of {len(verdicts) - counts['excluded']} kinds")
        for verdict in sorted(set(verdicts.values()) - {"exact"}):
            lines.append(f"\n{verdict}:")
            for kind in sorted(kind for kind, found in verdicts.items() if found == verdict):
                rows = [row for row in self.rows if row.kind == kind and row.ending != "exact"]
                row = next((row for row in rows if row.ending in FAULTS), rows[0])
                lines.append(f"  {kind} [{row.number}]: {row.reason}")
        return "\n".join(lines)


def _verdict(endings: Sequence[str]) -> str:
    found = [ending for ending in endings if ending != "excluded"]
    if not found:
        return "excluded"
    fault = next((ending for ending in FAULTS if ending in found), None)
    if fault is not None:
        return fault
    if "exact" in found:
        return "exact" if set(found) == {"exact"} else "partly"
    return found[0]
