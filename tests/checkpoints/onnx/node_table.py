"""What our reader makes of ONNX's own cases of its operators, as a table.

`python -m tests.checkpoints.onnx.node_table [WORD]` prints a row for each operator of agents, and then every
case whose name holds WORD (or that is wrong, or refused) with what became of it.
"""

from __future__ import annotations

import sys
from collections import Counter

from tests.checkpoints.onnx.node_cases import Case, Outcome, cases, outcome

Outcomes = dict[str, tuple[Case, Outcome]]


def outcomes() -> Outcomes:
    """Of every case of dense tensors in dtypes that agents have."""
    return {name: (case, outcome(case)) for name, case in cases().items() if case.dense}


def counted(found: Outcomes, *, listed: bool) -> Counter[str]:
    """How many cases of agents' operators, or of others, ended how."""
    return Counter(result.kind for case, result in found.values() if case.listed is listed)


def main(word: str = "") -> None:
    """Print the table."""
    found = outcomes()
    rows: dict[str, Counter[str]] = {}
    for case, result in found.values():
        if case.listed:
            rows.setdefault(
                " + ".join(sorted(case.operators)) if len(case.operators) == 1 else "several", Counter()
            )[result.kind] += 1
    for name, row in sorted(rows.items()):
        print(f"{name:28} {row['exact']:4} exact {row['refused']:4} refused {row['wrong']:4} wrong")
    for listed in (True, False):
        counts = counted(found, listed=listed)
        share = counts["exact"] / max(1, counts.total())
        print(
            f"{'agents’ operators' if listed else 'others'}: {counts.total()} cases, {dict(counts)}, "
            f"{share:.1%} exact"
        )
    for name, (case, result) in sorted(found.items()):
        if (word and word in name) or (
            not word and result.kind != "exact" and (case.listed or result.kind == "wrong")
        ):
            print(f"{name}: {result.kind} {result.words}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
