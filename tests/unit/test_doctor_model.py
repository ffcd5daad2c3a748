"""The words of a diagnosis: rungs, exit codes, catalogue."""

from __future__ import annotations

import re

import pytest

from engine.control.remedies import REMEDIES, Remedy, fix_for
from engine.diagnostics.catalogue import CATALOGUE
from engine.diagnostics.fixes import FIXES
from engine.diagnostics.model import (
    HOST,
    Cause,
    Check,
    ExitCode,
    Judgement,
    Report,
    Result,
    Scope,
    Subject,
    Verdict,
    climb,
    fail,
    ok,
    skip,
    warn,
)
from engine.observe.alerts_rules import NAMES

CAUSES = (Cause("broken", "it is broken", ("node.modes",)),)


def check(check_id: str, found: Judgement, *needs: str) -> Check[None]:
    return Check(check_id, Scope.NODE, "title", "meaning", lambda _: found, CAUSES, needs)


def report(*verdicts: Verdict) -> Report:
    return Report(
        tuple(Result("node.auth", Scope.NODE, "title", "meaning", HOST, verdict) for verdict in verdicts), 0.0, 1.0, "1"
    )


def test_the_first_failing_rung_decides() -> None:
    """Rungs above a failed one are skipped and name it, also across a rung that was itself skipped."""
    ladder = [
        check("node.tcp", fail("broken", "refused")),
        check("node.auth", ok(), "node.tcp"),
        check("node.shell", ok(), "node.auth"),
        check("node.clock", ok("beside it")),
    ]

    results = climb(ladder, None, Subject("n1", "node one"))

    assert [one.verdict for one in results] == [Verdict.FAILED, Verdict.SKIPPED, Verdict.SKIPPED, Verdict.OK]
    assert {results[1].reason, results[2].reason} == {"node.tcp failed first"}
    assert results[0].fixes == ("node.modes",)


def test_a_warning_carries_the_next_rung() -> None:
    """Only a failure stops the climb."""
    results = climb([check("node.login", warn("broken")), check("node.auth", ok(), "node.login")], None, HOST)

    assert results[1].verdict is Verdict.OK


def test_a_judgement_names_a_cause_that_exists() -> None:
    """A cause that nobody described is a programming error, never shown."""
    with pytest.raises(KeyError):
        climb([check("node.auth", fail("never heard of"))], None, HOST)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((Verdict.OK, Verdict.SKIPPED), 0),
        ((Verdict.OK, Verdict.WARNING), 1),
        ((Verdict.WARNING, Verdict.FAILED), 2),
        ((Verdict.SKIPPED,), 3),
        ((), 3),
    ],
)
def test_exit_codes(verdicts: tuple[Verdict, ...], code: ExitCode) -> None:
    """0 ok, 1 warnings, 2 failures, 3 nothing could be checked."""
    assert report(*verdicts).exit_code == code


def test_skipping_is_no_verdict() -> None:
    """A skipped check has a reason and no cause."""
    result = climb([check("node.gpu", skip("not asked"))], None, HOST)[0]

    assert (result.verdict, result.reason, result.cause, result.is_finding) == (Verdict.SKIPPED, "not asked", "", False)


def test_every_check_is_whole() -> None:
    """Ids are unique and stable in form, needs come earlier, causes are unique and lead to a fix or an advice."""
    seen: set[str] = set()
    for one in CATALOGUE:
        assert re.fullmatch(r"[a-z]+\.[a-z_0-9]+", one.id), one.id
        assert one.id not in seen
        assert one.id.startswith(f"{one.scope.value}.")
        assert set(one.needs) <= seen, one.id
        seen.add(one.id)
        assert len({cause.id for cause in one.causes}) == len(one.causes), one.id
        for cause in one.causes:
            assert cause.fixes or cause.advice, f"{one.id} {cause.id}"


def test_every_cause_leads_to_fixes_that_exist() -> None:
    """A cause names fixes of the table, and every fix of the table is named by a cause."""
    named = {fix for one in CATALOGUE for cause in one.causes for fix in cause.fixes}

    assert named == set(FIXES)


def test_alerts_lead_to_checks_and_fixes_that_exist() -> None:
    """Every remedy names an alert rule, a check, and one of that check's fixes."""
    checks = {one.id: one for one in CATALOGUE}

    assert set(REMEDIES) <= set(NAMES)
    for rule, remedy in REMEDIES.items():
        fixes = {fix for cause in checks[remedy.check].causes for fix in cause.fixes}
        assert remedy.fix in fixes | {""}, rule
    assert fix_for("host_key_changed") == Remedy("node.host_key", "node.accept_host_key")
    assert fix_for("shared_gpu") is None
