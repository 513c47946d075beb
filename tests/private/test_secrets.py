"""No password that was given anywhere comes out anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.cli.app import main
from grandopt.errors import GrandoptError
from grandopt.private import HIDDEN, told, told_command, url_without_secrets, without, without_secrets
from grandopt.reporting.log import RunLog
from grandopt.runtime.cache.levels.redis import RedisLevel
from grandopt.tuning.study.storage import opened
from grandopt.workflows.events import Event

SECRET = "s3cretHorse"

URLS = [
    f"postgresql://bob:{SECRET}@host:5432/db",
    f"postgresql+psycopg2://bob:{SECRET}@host/db?sslmode=off",
    f"postgresql://bob:{SECRET}/x@y@host/db",
    f"postgresql://bob:{SECRET} and more@host/db",
    f"postgresql//bob:{SECRET}@host/db",
    f"postgresql:/bob:{SECRET}@host/db",
    f"postgres:bob:{SECRET}@host",
    f"bob:{SECRET}@host",
    f"redis://:{SECRET}@host:6379/0",
    f"redis:///:{SECRET}@host",
    f"rediss://bob:{SECRET}@host:notaport/0",
    f"mysql://bob:{SECRET}@[::1/db",
    f"mysql://host/db?password={SECRET}",
    f"mysql://host/db?user=bob&sslpassword={SECRET}&x=1",
    f"redis://host?password={SECRET}",
    f"s3://bucket/key?X-Amz-Signature={SECRET}",
    f"https://host/?api_key={SECRET}#there",
    f"nonsense://bob:{SECRET}@host/db",
]

secrets = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'\"<>\\"), min_size=4, max_size=20
)


@pytest.mark.parametrize("url", URLS)
def test_in_a_text_on_a_command_line_and_in_plain_data(url: str) -> None:
    assert SECRET not in url_without_secrets(url)
    assert SECRET not in without(f"could not connect to {url!r}: password {SECRET} refused", url)
    words = ["/usr/bin/grandopt", "tune", f"--storage={url}", "--storage", url, url, "-q", f"--other={url}"]
    assert SECRET not in " ".join(told_command(words))
    if " " not in url:  # a text does not tell where a URL with spaces ends
        assert SECRET not in json.dumps(told({"reason": [f"{url} cannot be reached"]}))
        assert SECRET not in Event("error", "gate", "tune", f"{url}: refused").message


@given(
    secret=secrets, user=st.sampled_from(["", "bob"]), scheme=st.sampled_from(["postgresql", "redis", "x+y"])
)
@settings(max_examples=300)
def test_any_password(secret: str, user: str, scheme: str) -> None:
    url = f"{scheme}://{user}:{secret}@host:1/db"
    wanted = f"{scheme}://{user}:{HIDDEN}@host:1/db"
    assert url_without_secrets(url) == wanted
    assert told_command(("grandopt", "tune", "--storage", url))[-1] == wanted
    if not set(secret) & set("/?#&="):
        assert without_secrets(f"{url} is down") == f"{wanted} is down"


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////tmp/studies.db",
        "postgresql://bob@host/db",
        "redis://host:6379/0",
        "https://docs.python.org/3/?highlight=x",
        "mail bob@host.org",
        "p50 = 3 µs @ batch 1: fine",
        "--limit=p99=20%",
    ],
)
def test_what_holds_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("url", URLS)
def test_a_storage_that_cannot_be_used(url: str) -> None:
    with pytest.raises(GrandoptError) as caught, opened(url):
        pass
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", URLS)
def test_a_redis_that_cannot_be_used(url: str) -> None:
    pytest.importorskip("redis", reason="skipped: the Redis client is not installed")
    said = ""
    try:
        RedisLevel(url).close()
    except GrandoptError as error:
        said = str(error)
    assert SECRET not in said


@pytest.mark.parametrize("url", URLS)
def test_the_command_line(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grandopt.yaml").write_text(f"profile: basic\nstorage: {json.dumps(url)}\n")
    for words in (
        ["tune", f"--storagee={url}"],
        ["optimize", url],
        ["compare", url, "main"],
        ["optimize", "--config", "grandopt.yaml"],
        ["inspect", url],
        ["tune", "--trials", url],
    ):
        assert main(words) == 2, words
    out, err = capfd.readouterr()
    assert SECRET not in out + err


def test_a_log(tmp_path: Path) -> None:
    words = told_command(["grandopt", "tune", "--storage", URLS[0]])
    with RunLog(tmp_path / "log", " ".join(words)) as log:
        log.write("error", "gate", "tune", Event("error", "gate", "tune", f"cannot reach {URLS[0]}").message)
    assert SECRET not in (tmp_path / "log").read_text()


def test_paths_are_told_from_the_working_folder_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    (work / "models").mkdir(parents=True)
    (work / "models" / "gate.pt").touch()
    monkeypatch.chdir(work)
    words = told_command(["/venv/bin/grandopt", "optimize", f"{work}/models/gate.pt", f"--output={work}/out"])
    assert words == ("grandopt", "optimize", "models/gate.pt", "--output=out")
    said = told({"path": f"{work}/models/gate.pt", "reason": f"{work}/models/gate.pt: no network"})
    assert said == {"path": "models/gate.pt", "reason": "models/gate.pt: no network"}
    assert told(f"in {Path.home()}/x") == "in ~/x"
    assert told("/s and 3/4") == "/s and 3/4"
