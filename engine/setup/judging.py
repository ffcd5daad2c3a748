"""What the check phase makes of a report: what stops a setup, and what a person is told of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engine.diagnostics.model import Report, Result, Scope, Subject, Verdict
from engine.setup.answers import VALIDATOR

FAILED, WARNING = "!!", "! "
"""What a failure's and a warning's line begin with."""
MOST_UNCHECKED = 6
"""Of one subject, each on its own line; more are counted, as behind a dead node everything is unchecked."""
_ONLY_WHEN_SERVED = frozenset({"chain.age", "chain.axon", "chain.immunity"})
"""Findings that every engine has which never ran."""
_OF_THE_OTHER_ROLE = {VALIDATOR: "chain.assigned"}
_FAILED_FIRST = " failed first"


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict of the check phase. ``blocking`` sentences stop the setup; the rest is for the operator to weigh.

    ``lines`` are failures and what to do, then warnings, then what could not be checked and why.
    """

    report: Report
    blocking: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def refusal(self) -> str:
        """Why it cannot go on, or nothing."""
        more = f" (and {len(self.blocking) - 1} more)" if len(self.blocking) > 1 else ""
        return f"{self.blocking[0]}{more}" if self.blocking else ""


def is_of_a_setup(result: Result) -> bool:
    """Whether it says something of an engine that never ran."""
    return result.check not in _ONLY_WHEN_SERVED


def judge(report: Report) -> Checked:
    """What stops a setup: an engine that would not start, or no node at all that can be entered."""
    failed = [one for one in report.findings if one.verdict is Verdict.FAILED]
    blocking = [f"{one.title}: {one.cause_words or '; '.join(one.evidence)}" for one in failed if _stops(one)]
    logins = [one for one in report.results if one.check == "node.shell"]
    if logins and not any(one.verdict in (Verdict.OK, Verdict.WARNING) for one in logins):
        blocking.append("no node can be entered with the miner's key")
    failed.sort(key=lambda one: not _stops(one))
    warnings = [one for one in report.findings if one.verdict is Verdict.WARNING]
    lines = [line for one in (*failed, *warnings) for line in _told(one)]
    return Checked(report, tuple(blocking), (*lines, *_unchecked(report)))


def _stops(result: Result) -> bool:
    return result.scope in (Scope.CONFIG, Scope.WALLET) or result.check == "host.ports"


def _told(result: Result) -> Iterator[str]:
    mark = FAILED if result.verdict is Verdict.FAILED else WARNING.strip()
    evidence = result.evidence[0] if result.evidence else ""
    cause = result.cause_words
    words = f"{cause} ({evidence})" if cause and evidence else cause or evidence
    yield f"{mark} {result.subject.label}: {result.title}: {words}"
    if result.advice:
        yield f" do: {result.advice}"
    elif result.fixes:
        yield f" do: when the files are written, basilica-tui doctor --fix repairs it ({result.fixes[0]})"


def _unchecked(report: Report) -> Iterator[str]:
    titles = {one.check: one.title for one in report.results}
    for subject in dict.fromkeys(one.subject for one in report.results):
        left = [one for one in report.results if one.subject == subject and _is_unchecked(one, report.role)]
        for reason, checks in _by_reason(left, titles):
            if len(checks) > MOST_UNCHECKED:
                yield f"not checked: {_of(subject)}{len(checks)} checks: {reason}"
            else:
                yield from (f"not checked: {_of(subject)}{one.title}: {reason}" for one in checks)


def _is_unchecked(result: Result, role: str) -> bool:
    """A question that another one's failure left open; not one that does not arise here."""
    of_this_role = result.check != _OF_THE_OTHER_ROLE.get(role, "chain.permit")
    return result.verdict is Verdict.SKIPPED and result.reason.endswith(_FAILED_FIRST) and of_this_role


def _by_reason(results: Iterable[Result], titles: dict[str, str]) -> Iterable[tuple[str, list[Result]]]:
    found: dict[str, list[Result]] = {}
    for one in results:
        first = one.reason.removesuffix(_FAILED_FIRST)
        words = "chain not reached" if first == "chain.endpoint" else f"not so: {titles.get(first, first)}"
        found.setdefault(words, []).append(one)
    return found.items()


def _of(subject: Subject) -> str:
    return f"{subject.label}: " if subject.id else ""
