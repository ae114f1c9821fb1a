"""The metering benchmarks work, and all sides come to the same. How fast they are, `make bench-metering` says."""

from __future__ import annotations

import pytest

from bench.metering import calls, ingest, months
from bench.metering.__main__ import parts
from bench.report import Report
from tests.support.postgres import GIVEN, PostgresServer


@pytest.fixture(autouse=True)
def _on_the_server_that_runs(monkeypatch: pytest.MonkeyPatch, postgres_server: PostgresServer) -> None:
    monkeypatch.setenv(GIVEN, postgres_server.url)


def test_every_part_is_found_by_its_number() -> None:
    found = parts()
    assert (found["1"], found["2"], found["3"]) == (ingest.run, months.run, calls.run)
    assert list(found) == sorted(found)


def test_every_way_of_ingest_stores_the_same() -> None:
    report = Report(quick=True)
    ingest.run(report, True)
    assert not report.failures
    assert len(report.comparisons) == 6


def test_every_way_comes_to_the_same_months() -> None:
    report = Report(quick=True)
    months.run(report, True)
    assert not report.failures
    assert len(report.comparisons) == 4


def test_a_peer_that_comes_to_other_months_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(months, "_PEER", months._PEER.replace("min(value)", "max(value)"))
    report = Report(quick=True)
    months.run(report, True)
    assert report.failures


def test_one_call_and_many_store_the_same_readings() -> None:
    report = Report(quick=True)
    calls.run(report, True)
    assert not report.failures
    assert len(report.comparisons) == 2
