"""A reason survives every record, and every error is one."""

from __future__ import annotations

import inspect
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import create_trial

from grandopt import errors
from grandopt.artifacts.fleet.fleet import FleetStore
from grandopt.artifacts.fleet.folder import FolderPlace
from grandopt.artifacts.store import Store
from grandopt.errors import BuildError, DeadlineExceeded, EngineUnavailableError, GrandoptError, Overloaded
from grandopt.reason import CODES, Reason, ReasonCode, reason_fields, reason_of, told_reason_of
from grandopt.tuning.space import ChoiceSpace
from grandopt.tuning.study.records import trial_of
from grandopt.tuning.study.sampler import distributions
from grandopt.workflows.memo.failed_builds import FailedBuilds

LATE = Reason(ReasonCode.NOT_BUILT_IN_TIME, "the time budget was used up", "--budget SECONDS")
ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, GrandoptError) and kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("code", ReasonCode)
def test_every_code_is_short_stable_words_and_survives_a_record(code: ReasonCode) -> None:
    assert code.value == code.name.lower()
    reason = Reason(code, "it said: no, never")
    assert reason_of(json.loads(json.dumps(reason_fields(reason)))) == reason
    assert str(reason) == f"{reason}" == "it said: no, never"


def test_no_reason_is_none_and_words_alone_are_of_an_unknown_kind() -> None:
    assert reason_of(reason_fields(None)) is None
    assert reason_of({"reason": "no", "reason_code": "of_a_later_version"}) == Reason(
        ReasonCode.UNKNOWN, "no"
    )
    assert reason_of({"reason": "failed: no"}) == Reason(ReasonCode.UNKNOWN, "failed: no")


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_a_reason_with_a_code(kind: type[GrandoptError]) -> None:
    reason = Reason.of(kind("what happened"))
    assert reason.text == "what happened"
    assert reason.code is CODES.get(kind, reason.code)
    assert reason.code is not ReasonCode.UNKNOWN


def test_an_error_tells_its_remedy() -> None:
    error = EngineUnavailableError("no engine", remedy="pip install it")
    assert Reason.of(error) == Reason(ReasonCode.ENGINE_MISSING, "no engine", "pip install it")
    assert Reason.of(BuildError("no")).remedy is None


def test_a_failed_build_is_kept_with_its_code(tmp_path: Path) -> None:
    with_resume = FailedBuilds(Store(tmp_path), resume=True)
    with_resume.keep("a key", "not measured", LATE, 60.0, 90.0)
    found = with_resume.of("a key")
    assert found is not None
    assert (found.reason, found.status, found.given_s, found.stage_s) == (LATE, "not measured", 60.0, 90.0)
    assert (found.told.code, found.told.remedy) == (LATE.code, LATE.remedy)
    assert found.told.text == f"{LATE.text} (kept from {found.since}; --no-resume tries again)"
    assert FailedBuilds(Store(tmp_path), resume=False).of("a key") is None


def test_what_another_machine_wrote_is_short_and_is_nothing_to_type(tmp_path: Path) -> None:
    forged = Reason(ReasonCode.ENGINE_MISSING, "no " * 5000, "curl example.org | sh")
    assert told_reason_of(reason_fields(forged)) == Reason(forged.code, forged.text[:1000])
    assert told_reason_of(reason_fields(None)) is None
    (tmp_path / "shared").mkdir()
    first, second = (
        FailedBuilds(
            Store(tmp_path / name, fleet=FleetStore(FolderPlace(tmp_path / "shared"), pytest.fail)), True
        )
        for name in ("first", "second")
    )
    first.keep("a key", "unavailable", forged)
    found = second.of("a key")
    assert found is not None
    assert found.elsewhere
    assert found.told.remedy is None
    assert len(found.told.text) < 1100
    assert first.of("a key") == replace(found, reason=forged, elsewhere=False), "its own words are its own"


def test_a_trial_of_an_earlier_version_has_its_words() -> None:
    space = ChoiceSpace(("a",))
    facts = {"state": "infeasible", "score": None, "figures": None, "seconds": 1.0}
    for reason in ({"reason": "refused: it differs"}, reason_fields(LATE)):
        stored = create_trial(
            value=1.0,
            params={"candidate": "a", "threads": 1, "batch": 1},
            distributions=dict(distributions(space)),
            user_attrs=facts | reason,
        )
        assert trial_of(stored).reason == reason_of(reason)


@pytest.mark.parametrize("kind", [Overloaded, DeadlineExceeded])
def test_a_refusal_that_is_pickled_keeps_when_to_try_again(
    kind: type[Overloaded] | type[DeadlineExceeded],
) -> None:
    copy = pickle.loads(pickle.dumps(kind("too many wait", 0.25)))
    assert (str(copy), copy.retry_after_s) == ("too many wait", 0.25)
