"""From what the user names to records: files, folders and URLs, each read by itself."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from grandopt import limits
from grandopt.distributed.fleet_report.fetching import fetched, is_url
from grandopt.distributed.fleet_report.server import told_by_server
from grandopt.errors import GrandoptError, InputError
from grandopt.private import url_without_secrets, without
from grandopt.reporting.fleet.fleet import Source, Unread
from grandopt.reporting.history.records import Record, agent_records, run_record
from grandopt.reporting.history.store import read
from grandopt.reporting.report import load_report

SQLITE = b"SQLite format 3\0"
MOST_FILES = 10_000
"""Reports and histories of one folder."""
PATTERNS = (".json", ".sqlite")


def read_sources(named: Sequence[str]) -> tuple[list[Source], list[Unread]]:
    """What was read, and what was not with the reason; one that is broken keeps no other from being read.

    A file is a report or a history; of a folder all `*report*.json` and `*.sqlite` in it and below it; a URL
    is that of such a file, or of a server of ours. Raises InputError where nothing at all can be read.
    """
    sources: list[Source] = []
    unread: list[Unread] = []
    for name in dict.fromkeys(named):
        if is_url(name):
            place = url_without_secrets(name)
            try:
                sources.append(Source(place, _of_url(name)))
            except GrandoptError as error:
                unread.append(Unread(place, without(str(error), name)))
            continue
        try:
            files = list(_files(Path(name)))
        except InputError as error:
            unread.append(Unread(limits.shortened(Path(name)), str(error)))
            continue
        for file in files:
            shown = limits.shortened(file)
            try:
                sources.append(Source(shown, _of_file(file)))
            except GrandoptError as error:
                unread.append(Unread(shown, str(error)))
    if not any(source.records for source in sources):
        reasons = "; ".join(one.reason for one in unread[:3]) or "they hold no run of any agent"
        raise InputError(f"nothing to report of {len(named)} source(s): {reasons}")
    return sources, unread


def _files(path: Path) -> Iterator[Path]:
    """The file itself, or the reports and histories in a folder, in order."""
    if not path.is_dir():
        yield path
        return
    found = 0
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(PATTERNS) and ("report" in name or name.endswith(".sqlite")):
                found += 1
                if found > MOST_FILES:
                    raise InputError(
                        f"{limits.shortened(path)}: holds more than {MOST_FILES:,} reports; name its folders"
                    )
                yield Path(folder) / name
    if not found:
        raise InputError(
            f"{limits.shortened(path)}: holds no report (*report*.json) and no history (*.sqlite)"
        )


def _of_file(path: Path) -> tuple[Record, ...]:
    try:
        with limits.opened(path, limits.HISTORY_BYTES) as file:
            history = file.read(len(SQLITE)) == SQLITE
    except OSError as error:
        raise InputError(f"{limits.shortened(path)}: cannot be read ({error.strerror})") from error
    if history:
        return read(path)
    report = load_report(path)
    run = run_record(report)
    return tuple(Record(run, agent) for agent in agent_records(report))


def _of_url(url: str) -> tuple[Record, ...]:
    """What lies there: a report, a history, or a server that tells of its artifacts."""
    answer = fetched(url, limits.HISTORY_BYTES)
    if answer.startswith(SQLITE) or answer.lstrip()[:1] == b"{":
        if not answer.startswith(SQLITE) and len(answer) > limits.REPORT_BYTES:
            raise InputError(
                f"{url}: a report of {len(answer):,} bytes; at most {limits.REPORT_BYTES:,} are read"
            )
        with tempfile.TemporaryDirectory(prefix="grandopt-") as folder:
            file = Path(folder) / "fetched"
            file.write_bytes(answer)
            try:
                return _of_file(file)
            except InputError as error:
                raise InputError(f"{url}: {str(error).removeprefix(f'{file}: ')}") from error
    return told_by_server(url)
