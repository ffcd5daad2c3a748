"""A repair that fails is taken back: every step of it, also a half-made one, whatever happens to the others."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.diagnostics.fixes.common import local_step, systemctl_step
from engine.diagnostics.fixing import Fixer, Hands
from engine.diagnostics.model import Result, Scope, Subject, Verdict
from engine.diagnostics.plan import LocalCommand, Plan, Step


def makes(path: Path, *, then: str = "true", undo: tuple[str, ...] | None = None) -> Step:
    """A step that makes a file, ends as ``then`` does, and may have been done in part."""
    words = ("sh", "-c", f"touch {path}; {then}")
    action = LocalCommand(words, ("rm", str(path)) if undo is None else undo, may_be_half_done=True)
    return local_step(f"make {path.name}", " ".join(words), action, "rm")


@pytest.mark.parametrize(
    ("undo_of_b", "left", "words"),
    [
        (None, [], "what was changed is taken back"),
        (("sh", "-c", "echo no way >&2; exit 3"), ["b"], "taking it back failed:"),
    ],
)
async def test_one_step_that_stays_keeps_no_other(
    tmp_path: Path, undo_of_b: tuple[str, ...] | None, left: list[str], words: str
) -> None:
    """The last step fails halfway; each step before it and its own half are undone, and what could not be is told."""
    steps = (
        makes(tmp_path / "a"),
        makes(tmp_path / "b", undo=undo_of_b),
        makes(tmp_path / "c", then="exit 1"),
    )
    plan = Plan("fix", "a fix", "check", "", "this host", steps)

    async def never() -> Result | None:
        raise AssertionError("nothing is checked after a failure")

    before = Result("check", Scope.HOST, "a check", "what it means", Subject(), Verdict.FAILED)
    outcome = await Fixer(Hands(SystemClock())).run(plan, never, before)
    assert outcome.ending == "failed"
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    assert words in outcome.message
    assert ("no way" in outcome.message, "2 of 3 done" in outcome.message) == (bool(left), bool(left))


def test_a_word_to_systemd_may_have_been_done_in_part() -> None:
    """``disable --now`` that fails to stop has disabled: its way back is taken. One without has nothing to undo."""
    stop = systemctl_step("stop", "disable", "--now", "x.service", undo=("enable", "--now", "x.service"))
    assert isinstance(stop.action, LocalCommand)
    assert stop.action.may_be_half_done
    plain = systemctl_step("reload", "daemon-reload")
    assert isinstance(plain.action, LocalCommand)
    assert not plain.action.may_be_half_done


@pytest.mark.parametrize("in_check", [False, True], ids=["in a step", "in the check behind it"])
async def test_an_interrupted_repair_is_taken_back(tmp_path: Path, in_check: bool) -> None:
    """Ctrl-C lets the step that runs end, undoes it and all before it, says so, and writes it down as undone."""
    waits = f"while [ ! -e {tmp_path / 'go'} ]; do sleep 0.02; done"
    last = makes(tmp_path / "b", then="true" if in_check else waits, undo=("rm", str(tmp_path / "b")))
    plan = Plan("fix", "a fix", "check", "", "this host", (makes(tmp_path / "a"), last))
    checking = asyncio.Event()

    async def recheck() -> Result | None:
        checking.set()
        await asyncio.Event().wait()
        return None

    said: list[str] = []
    journal = tmp_path / "state" / "fixes.jsonl"
    fixer = Fixer(Hands(SystemClock(), journal=journal), report=said.append)
    before = Result("check", Scope.HOST, "a check", "what it means", Subject(), Verdict.FAILED)
    running = asyncio.create_task(fixer.run(plan, recheck, before))
    if in_check:
        await checking.wait()
    else:
        while not (tmp_path / "b").exists():
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.sleep(0)
    (tmp_path / "go").touch()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(path.name for path in tmp_path.iterdir()) == ["go", "state"]
    assert said[-2:] == ["taking it back", "interrupted; what was changed is taken back"]
    assert any(line.startswith("interrupted: this step ends first") for line in said) is not in_check
    (line,) = journal.read_text().splitlines()
    assert json.loads(line)["ending"] == "undone"
