"""A plan: what would be done on this host, shown before anything is, and done step by step."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ServiceFailed

EXPLAIN_S, EXPLAIN_LINES = 10.0, 2
COMMAND_S = 330.0
"""Longer than the unit's own TimeoutStartSec."""


def _account(name: str) -> pwd.struct_passwd:
    """A user of this host. Raises ServiceFailed, before anything is made for somebody who is not there."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise ServiceFailed(
            f"there is no user {name} on this host",
            hint=f"make it (useradd --system --create-home {name}), or name another one",
        ) from None


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Make a directory with its parents, for one user alone; an existing one is left as it is."""

    path: Path
    owner: str = ""
    mode: int = 0o700

    @property
    def words(self) -> str:
        """One line."""
        return f"make directory {self.path} (mode {self.mode:04o}{f', owner {self.owner}' if self.owner else ''})"

    def run(self) -> None:
        """Do it. Raises OSError, and ServiceFailed for an owner who is not there."""
        entry = _account(self.owner) if self.owner and os.geteuid() == 0 else None
        missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
        for path in reversed(missing):
            path.mkdir(mode=self.mode if path == self.path else 0o755)
        if missing and entry is not None:
            os.chown(self.path, entry.pw_uid, entry.pw_gid)


@dataclass(frozen=True, slots=True)
class ChangeOwner:
    """Give a file, or a directory with the files directly below it, to the user that needs it."""

    path: Path
    owner: str

    @property
    def words(self) -> str:
        """One line."""
        inside = " and its files" if self.path.is_dir() else ""
        return f"give {self.path}{inside} to {self.owner}"

    def run(self) -> None:
        """Do it; links are not followed. Raises OSError, and ServiceFailed for an owner who is not there."""
        entry = _account(self.owner)
        files = [one for one in self.path.iterdir() if one.is_file()] if self.path.is_dir() else []
        for path in (self.path, *files):
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Write a file whole, through a temporary one beside it."""

    path: Path
    text: str
    mode: int = 0o644

    @property
    def words(self) -> str:
        """One line; says whether something is replaced."""
        verb = "replace" if self.path.exists() else "write"
        return f"{verb} {self.path}"

    @property
    def is_done(self) -> bool:
        """Whether the file says exactly this already."""
        try:
            return self.path.read_text(encoding="utf-8") == self.text
        except (OSError, UnicodeDecodeError):
            return False

    def run(self) -> None:
        """Do it. Raises OSError."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self.text)
                os.fchmod(file.fileno(), self.mode)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """Remove a file, and its directory when that is empty then."""

    path: Path

    @property
    def words(self) -> str:
        """One line."""
        return f"remove {self.path}"

    def run(self) -> None:
        """Do it. Raises OSError."""
        self.path.unlink(missing_ok=True)
        folder = self.path.parent
        if folder.name.endswith(".d") and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run a program without a shell. ``may_fail``: a failure is told and the plan goes on."""

    argv: tuple[str, ...]
    may_fail: bool = False
    explain: tuple[str, ...] = ()
    """A program whose last line says why it failed."""
    hint: str = ""
    """What to do when it fails, where that is known."""

    @property
    def words(self) -> str:
        """The command line."""
        return "run " + " ".join(self.argv)

    def run(self) -> None:
        """Do it. Raises ServiceFailed."""
        try:
            done = subprocess.run(
                self.argv, capture_output=True, text=True, timeout=COMMAND_S, check=False, stdin=subprocess.DEVNULL
            )
        except FileNotFoundError:
            raise ServiceFailed(
                f"{self.argv[0]} is not on this host", hint=self.hint or "install it, then repeat"
            ) from None
        except subprocess.TimeoutExpired:
            raise ServiceFailed(f"'{' '.join(self.argv)}' did not end in {COMMAND_S:.0f} s") from None
        if done.returncode and not self.may_fail:
            said = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()
            why = self._explanation() or next((line for line in reversed(said) if _tells(line)), said[-1])
            raise ServiceFailed(
                f"'{' '.join(self.argv)}' failed: {why[:300]}",
                hint=self.hint or "correct that, then repeat; done steps do no harm",
            )

    def _explanation(self) -> str:
        if not self.explain:
            return ""
        try:
            done = subprocess.run(
                self.explain, capture_output=True, text=True, timeout=EXPLAIN_S, check=False, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return " | ".join(done.stdout.strip().splitlines()[-EXPLAIN_LINES:])


def _tells(line: str) -> bool:
    """Whether a program's last words say what is wrong, not merely where to read on."""
    return bool(line.strip()) and not line.startswith(("Run '", "See '", "For more ", "Usage:"))


Step = MakeDirectory | ChangeOwner | WriteFile | RemoveFile | RunCommand


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in their order, what they are for, and what the operator should know before saying yes."""

    title: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()

    def lines(self, *, with_texts: bool) -> Sequence[str]:
        """The plan for people; with the content of the files that would be written if asked."""
        found = [self.title]
        for number, step in enumerate(self.steps, start=1):
            found.append(f"  {number}. {step.words}")
            if with_texts and isinstance(step, WriteFile):
                found += [f"       | {line}" for line in step.text.splitlines()]
        return [*found, *(f"  note: {note}" for note in self.notes)]


def apply_plan(plan: Plan, report: Callable[[str], None]) -> None:
    """Do the steps in order; the first that fails ends it, and those before it stay done.

    Raises:
        ServiceFailed: with the step that failed; the same plan may be applied again.
    """
    for step in plan.steps:
        if isinstance(step, WriteFile) and step.is_done:
            report(f"unchanged {step.path}")
            continue
        words = step.words
        try:
            step.run()
        except OSError as error:
            raise ServiceFailed(
                f"cannot {words}: {error.strerror or error}", hint="run it as root (sudo), or use --user"
            ) from error
        report(f"done: {words}")
