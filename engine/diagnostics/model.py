"""The words of a diagnosis: checks, causes, judgements, results and the report. Pure; nothing here asks anybody.

A check is a question with a judgement: a pure function over frozen facts. What it finds is explained by exactly one
of its causes, and a cause names the fixes that repair it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

F = TypeVar("F")

DOCS = "docs/doctor.md"


class Verdict(StrEnum):
    """What a check found; the value is what JSON says."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Scope(StrEnum):
    """What a check looks at."""

    CONFIG = "config"
    HOST = "host"
    WALLET = "wallet"
    CHAIN = "chain"
    NODE = "node"
    ACCESS = "access"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Cause:
    """One explanation of a finding. ``fixes`` are ids of ``engine.diagnostics.fixes``, the best first; without one
    ``advice`` says what a person does."""

    id: str
    words: str
    fixes: tuple[str, ...] = ()
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judgement says: evidence in sentences, and for a finding the cause that the evidence decided."""

    verdict: Verdict
    evidence: tuple[str, ...] = ()
    cause: str = ""
    reason: str = ""
    """Why it was skipped."""
    data: Mapping[str, str] = field(default_factory=dict)
    """What a fix needs to know: fingerprints, paths, ports."""


def ok(*evidence: str) -> Judgement:
    """All is well."""
    return Judgement(Verdict.OK, evidence)


def warn(cause: str, *evidence: str, **data: str) -> Judgement:
    """It works, but costs or risks something."""
    return Judgement(Verdict.WARNING, evidence, cause, data=data)


def fail(cause: str, *evidence: str, **data: str) -> Judgement:
    """It does not work."""
    return Judgement(Verdict.FAILED, evidence, cause, data=data)


def skip(reason: str) -> Judgement:
    """The check could not be made here, which is no verdict."""
    return Judgement(Verdict.SKIPPED, reason=reason)


@dataclass(frozen=True, slots=True)
class Check(Generic[F]):
    """One question. ``needs`` names checks of the same subject without whose success this one means nothing."""

    id: str
    scope: Scope
    title: str
    meaning: str
    """What it costs when this is wrong, in one sentence."""
    judge: Callable[[F], Judgement]
    causes: tuple[Cause, ...]
    needs: tuple[str, ...] = ()

    def cause(self, cause_id: str) -> Cause:
        """The cause with that id; KeyError when a judgement named one that does not exist."""
        for one in self.causes:
            if one.id == cause_id:
                return one
        raise KeyError(f"{self.id} has no cause {cause_id}")

    @property
    def link(self) -> str:
        """Where the documentation explains it."""
        return f"{DOCS}#{self.id.replace('.', '')}"


@dataclass(frozen=True, slots=True)
class Subject:
    """What was looked at: this host (empty id) or one node."""

    id: str = ""
    label: str = "this host"


HOST = Subject()


@dataclass(frozen=True, slots=True)
class Result:
    """One check of one subject."""

    check: str
    scope: Scope
    title: str
    meaning: str
    subject: Subject
    verdict: Verdict
    evidence: tuple[str, ...] = ()
    cause: str = ""
    cause_words: str = ""
    fixes: tuple[str, ...] = ()
    advice: str = ""
    reason: str = ""
    link: str = ""
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_finding(self) -> bool:
        """Whether it is a warning or a failure."""
        return self.verdict in (Verdict.WARNING, Verdict.FAILED)


def conclude(check: Check[Any], subject: Subject, found: Judgement) -> Result:
    """A judgement with everything that a reader needs beside it."""
    cause = check.cause(found.cause) if found.cause else None
    return Result(
        check.id,
        check.scope,
        check.title,
        check.meaning,
        subject,
        found.verdict,
        found.evidence,
        found.cause,
        cause.words if cause else "",
        cause.fixes if cause else (),
        cause.advice if cause else "",
        found.reason,
        check.link,
        found.data,
    )


def climb(checks: Iterable[Check[F]], facts: F, subject: Subject) -> tuple[Result, ...]:
    """Judge in order; a check whose need was not met is skipped, and says which rung below it decided."""
    results: dict[str, Result] = {}
    for check in checks:
        missing = next((results[n] for n in check.needs if n in results and not _carries(results[n])), None)
        if missing is not None:
            results[check.id] = conclude(check, subject, skip(_because(missing)))
        else:
            results[check.id] = conclude(check, subject, check.judge(facts))
    return tuple(results.values())


def _carries(result: Result) -> bool:
    return result.verdict in (Verdict.OK, Verdict.WARNING)


def _because(missing: Result) -> str:
    if missing.verdict is Verdict.SKIPPED:
        return missing.reason
    return f"{missing.check} failed first"


ExitCode = Literal[0, 1, 2, 3]


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one run."""

    results: tuple[Result, ...]
    started_at: float
    seconds: float
    version: str
    config: str = ""
    role: str = ""

    @property
    def findings(self) -> tuple[Result, ...]:
        """Failures, then warnings."""
        found = [one for one in self.results if one.is_finding]
        return tuple(sorted(found, key=lambda one: one.verdict is Verdict.WARNING))

    def count(self, verdict: Verdict) -> int:
        """How many results have that verdict."""
        return sum(one.verdict is verdict for one in self.results)

    @property
    def exit_code(self) -> ExitCode:
        """0 ok, 1 warnings, 2 failures, 3 nothing could be checked."""
        if any(one.verdict is Verdict.FAILED for one in self.results):
            return 2
        if any(one.verdict is Verdict.WARNING for one in self.results):
            return 1
        return 0 if any(one.verdict is Verdict.OK for one in self.results) else 3

    def find(self, check: str, subject: str = "") -> Result | None:
        """The result of that check about that subject's id."""
        return next((one for one in self.results if one.check == check and one.subject.id == subject), None)
