"""What failed beside others is run again alone: a fault stays a fault, an unsteady test is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.again import MOST, TIMES, failed_in, judge

HERE = ("--rootdir=.", "-o", "addopts=", "-p", "no:randomly")


def suite(tmp_path: Path, failures: str) -> str:
    """A test that counts its runs in a file and fails in those of the given numbers."""
    path = tmp_path / "test_counted.py"
    path.write_text(
        f"""from pathlib import Path
runs = Path({str(tmp_path / "runs")!r})
def test_counted():
    number = len(runs.read_text()) + 1 if runs.exists() else 1
    runs.write_text("x" * number)
    assert number not in {failures}
""",
        encoding="utf-8",
    )
    return f"{path}::test_counted"


def test_one_that_passes_alone_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It runs several times more, the whole is green, and the name stands in the output."""
    test = suite(tmp_path, "()")
    assert judge([test], HERE) == 0
    assert (tmp_path / "runs").read_text() == "x" * TIMES
    assert f"UNSTEADY: {test}" in capfd.readouterr().out


def test_one_failure_alone_is_red(tmp_path: Path) -> None:
    """Passing once is not enough: the last of the tries counts like the first."""
    assert judge([suite(tmp_path, f"({TIMES},)")], HERE) == 1
    assert (tmp_path / "runs").read_text() == "x" * TIMES


def test_many_are_no_accident(tmp_path: Path) -> None:
    """More than a few failures are not tried again at all; a run that broke without a failed test stays red."""
    assert judge([suite(tmp_path, "()")] * (MOST + 1), HERE) == 1
    assert not (tmp_path / "runs").exists()
    assert judge([]) == 1


def test_failures_come_from_the_run_itself(tmp_path: Path) -> None:
    """Pytest's own record is read; without one, or with a damaged one, there is none."""
    record = tmp_path / "v" / "cache" / "lastfailed"
    assert failed_in(tmp_path) == ()
    record.parent.mkdir(parents=True)
    record.write_text("{")
    assert failed_in(tmp_path) == ()
    record.write_text(json.dumps({"tests/b.py::t": True, "tests/a.py::t[x y]": True}))
    assert failed_in(tmp_path) == ("tests/a.py::t[x y]", "tests/b.py::t")
