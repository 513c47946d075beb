"""The options and the table of `grandopt benchmark`."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from grandopt.cli.app import main
from grandopt.cli.external_engines import parse_batches, parse_external_engines, split_engines
from grandopt.cli.render.benchmark import benchmark_tables
from grandopt.errors import ConfigError
from grandopt.reporting.report import (
    AgentReport,
    BatchFigures,
    CandidateReport,
    LeadReport,
    MeanLeadReport,
    Report,
)
from tests.reporting.samples import figures, report, speedup


def measured() -> Report:
    def row(label: str, p50_us: float, behind: float) -> CandidateReport:
        engine, precision = label.split("/")[:2]
        return CandidateReport(
            label=label,
            engine=engine,
            precision=precision,
            status="slower",
            figures=figures(p50_us, limit_factor=1.25, cpu_s_per_million=p50_us),
            behind=speedup(behind),
            batches=(BatchFigures(batch=32, figures=figures(p50_us * 8)),),
        )

    absent = CandidateReport(
        label="executorch/float32",
        engine="executorch",
        precision="float32",
        status="unavailable",
        reason="not installed; pip install torch==2.13.0 executorch==1.4.1",
    )
    lead = LeadReport(
        precision="float32",
        engine="native",
        label="native/float32",
        rival="onnxruntime",
        rival_label="onnxruntime/float32/run",
        ratio=speedup(8.2),
    )
    behind = lead.model_copy(update={"batch": 32, "ratio": speedup(0.5, width=0.02)})
    agent = AgentReport(
        name="decision_gate",
        status="measured",
        original=figures(40.0),
        original_batches=(BatchFigures(batch=32, figures=figures(64.0)),),
        original_behind=speedup(85.0),
        candidates=(
            row("native/float32", 0.47, 1.0),
            row("torchscript/int8_dynamic/no-ofi", 12.0, 25.5),
            absent,
        ),
        leads=(lead, behind, lead.model_copy(update={"precision": "any"})),
    )
    mean = MeanLeadReport(precision="float32", engine="native", agents=8, ratio=6.31, least=1.2, largest=15.0)
    return report(agent, kind="benchmark", leads=(mean,))


def shown(width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(*benchmark_tables(measured()), sep="\n", highlight=False)
    return captured.get()


def test_the_table_fits_eighty_columns_and_holds_every_engine() -> None:
    text = shown(80)
    assert max(len(line) for line in text.splitlines()) <= 80
    rows = [line.split() for line in text.splitlines()]
    assert ["native", "470", "ns", "752", "ns", "117", "ns", "0.47", "1.0×", "0.9–1.1", "1.25×"] in rows
    assert next(row for row in rows if row[:1] == ["original"])[1:3] == ["40.0", "µs"]
    flat = " ".join(text.split())
    assert "executorch: unavailable: not installed; pip install torch==2.13.0 executorch==1.4.1" in flat


def test_it_says_who_leads_by_how_much() -> None:
    flat = " ".join(shown(80).split())
    assert (
        "float32: native is 8.2× (8.1–8.3) as fast as the fastest other engine, onnxruntime (onnxruntime/run)"
        in flat
    )
    assert "float32, batch 32: onnxruntime (onnxruntime/run) is 2.00× (1.96–2.04) as fast as native" in flat
    assert "any precision" not in flat  # the same two as at float32
    assert "native is 6.31× as fast as the fastest other engine (geometric mean over 8 agents" in flat


def test_batches_are_read_in_order_and_without_one() -> None:
    assert parse_batches("1") == ()
    assert parse_batches("64, 8,1") == (8, 64)


@pytest.mark.parametrize("text", ["", "0", "-1", "8,", "x", "99999"])
def test_other_batches_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--batch must be numbers from 1 to 4096"):
        parse_batches(text)


def test_a_rival_is_a_name_and_an_interpreter() -> None:
    assert parse_external_engines(["executorch=et/bin/python"]) == {"executorch": Path("et/bin/python")}
    assert parse_external_engines(["litert=a", "mnn=b"]) == {"litert": Path("a"), "mnn": Path("b")}
    assert parse_external_engines(None) == {}
    for text in ("executorch", "executorch=", "tvm=python"):
        with pytest.raises(
            ConfigError, match=f"executorch, litert, mnn, batched, ray, fastapi; got '{text}'"
        ):
            parse_external_engines([text])


def test_engines_and_rivals_are_told_apart() -> None:
    assert split_engines(None) == (None, ("torch.compile", "onnxruntime", "executorch", "litert", "mnn"))
    assert split_engines(["native", "torch.compile"]) == (["native"], ("torch.compile",))
    assert split_engines(["onnxruntime"]) == (["onnxruntime"], ("onnxruntime",))
    assert split_engines(["executorch"]) == ([], ("executorch",))


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        (["--load", "artifacts/gate", "--strict"], "--strict: not for --load"),
        (["--load", "artifacts/gate", "--rival", "ray=python"], "--rival: not for --load"),
        (["--suite", "cache", "--run-into", "--batch", "8"], "--batch, --run-into: not for --suite cache"),
        (["--suite", "memory", "--budget", "5"], "--budget: not for --suite memory"),
        (["--suite", "residence", "--operators"], "--operators: not for --suite residence"),
        (["--suite", "loadgen", "--rival", "ray=python"], "--rival: not for --suite loadgen"),
        (["--strict"], "--strict: not for --suite agents"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], unused: str
) -> None:
    assert main(["benchmark", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert unused in line
