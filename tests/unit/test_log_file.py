"""The log in a file, and the log that journald reads."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from engine.errors import ConfigInvalid
from engine.observe.log_file import LogFile, for_journal, is_read_by_journal
from engine.observe.logs import configure_logging


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    """Put the process's logging back after each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def log(count: int = 1, words: str = "something happened") -> None:
    for number in range(count):
        structlog.get_logger().info(words, number=number, password="hunter2")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_file_gets_json_beside_the_stream(tmp_path: Path) -> None:
    """The same line on both, secrets hidden on both; the directory is made, and others cannot read the file."""
    path, stream = tmp_path / "logs" / "engine.log", io.StringIO()
    configure_logging("info", "auto", stream=stream, file=LogFile(path, 10_000, 2))
    log()
    (line,) = lines(path)
    assert line["event"] == "something happened"
    assert line["timestamp"]
    assert json.loads(stream.getvalue())["event"] == "something happened"
    assert "hunter2" not in path.read_text() + stream.getvalue()
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_files_are_rotated_by_size(tmp_path: Path) -> None:
    """No file grows beyond its size, only so many are kept, and the newest lines are in the newest file."""
    path = tmp_path / "engine.log"
    configure_logging("info", "json", stream=io.StringIO(), file=LogFile(path, 4096, 3))
    log(300)
    files = sorted(tmp_path.iterdir())
    assert [f.name for f in files] == ["engine.log", "engine.log.1", "engine.log.2", "engine.log.3"]
    assert all(f.stat().st_size <= 4096 for f in files)
    assert lines(path)[-1]["number"] == 299
    numbers = [line["number"] for f in (*reversed(files[1:]), path) for line in lines(f)]
    assert numbers == list(range(int(str(numbers[0])), 300))


def test_an_existing_file_is_continued(tmp_path: Path) -> None:
    """A restart appends."""
    path = tmp_path / "engine.log"
    for _ in range(2):
        configure_logging("info", "json", stream=io.StringIO(), file=LogFile(path, 10_000, 2))
        log()
    assert len(lines(path)) == 2


def test_pretty_is_pretty_in_the_file_without_colours(tmp_path: Path) -> None:
    """People who ask for pretty get it there too."""
    path = tmp_path / "engine.log"
    configure_logging("info", "pretty", stream=io.StringIO(), file=LogFile(path, 10_000, 2))
    log()
    assert "INFO something happened number=0" in path.read_text()
    assert "\x1b" not in path.read_text()


def test_a_file_that_cannot_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    """Said at the start with the key's name, and what was set up before stays."""
    (tmp_path / "file").write_text("")
    before = logging.getLogger().handlers[:]
    with pytest.raises(ConfigInvalid, match=r"logging\.file"):
        configure_logging(stream=io.StringIO(), file=LogFile(tmp_path / "file" / "engine.log", 10_000, 2))
    assert logging.getLogger().handlers == before


def test_a_full_disk_does_not_complain_about_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """A line that cannot be written to the file is still on the stream, without a traceback."""
    stream = io.StringIO()
    configure_logging("info", "json", stream=stream, file=LogFile(Path("/dev/full"), 10**9, 1))
    log(3)
    assert len(stream.getvalue().splitlines()) == 3
    assert capsys.readouterr().err == ""


def test_reconfiguring_closes_the_old_file(tmp_path: Path) -> None:
    """A reload to another file lets the first one go."""
    configure_logging("info", "json", stream=io.StringIO(), file=LogFile(tmp_path / "a.log", 10_000, 2))
    configure_logging("info", "json", stream=io.StringIO(), file=LogFile(tmp_path / "b.log", 10_000, 2))
    log()
    assert (tmp_path / "a.log").read_text() == ""
    assert len(lines(tmp_path / "b.log")) == 1


@pytest.mark.parametrize("fmt", ["json", "pretty"])
def test_journald_gets_priorities_and_no_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fmt: str) -> None:
    """On the stream that journald reads each line begins with its priority, and the time is left to the journal."""
    path = tmp_path / "stream"
    with path.open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert is_read_by_journal(stream)
        configure_logging("info", fmt, stream=stream)  # type: ignore[arg-type]
        structlog.get_logger().warning("careful", n=1)
        structlog.get_logger().error("broken", n=2)
        stream.flush()
    first, second = path.read_text().splitlines()
    assert first.startswith("<4>")
    assert second.startswith("<3>")
    assert "timestamp" not in first
    assert not any(part.endswith("Z") for part in first.split())
    assert "careful" in first


def test_an_inherited_journal_stream_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable alone says nothing: the stream itself has to be the journal's."""
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    with (tmp_path / "stream").open("w") as stream:
        assert not is_read_by_journal(stream)
    assert not is_read_by_journal(io.StringIO())
    monkeypatch.delenv("JOURNAL_STREAM")
    with (tmp_path / "stream").open("w") as stream:
        assert not is_read_by_journal(stream)


def test_every_line_of_a_traceback_keeps_its_priority() -> None:
    """journald makes a record of each line."""
    assert for_journal("one\ntwo", "error") == "<3>one\n<3>two"
