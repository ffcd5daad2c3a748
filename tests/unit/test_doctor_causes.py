"""Every cause that a check can name: the evidence that leads to it, its verdict and what repairs it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from engine import diagnostics
from engine.diagnostics.catalogue import CATALOGUE, check_of
from engine.diagnostics.chain_checks import Reach
from engine.diagnostics.host_facts import KeyTrouble
from engine.diagnostics.model import HOST, climb
from engine.diagnostics.service_checks import BaseState, EngineState
from tests.unit.doctor_cases.access import ACCESS
from tests.unit.doctor_cases.case import Case
from tests.unit.doctor_cases.chain import CHAIN
from tests.unit.doctor_cases.local import CONFIG, SERVICE, WALLET
from tests.unit.doctor_cases.local import HOST as HOST_CASES
from tests.unit.doctor_cases.nodes import NODES

CASES = (*CONFIG, *HOST_CASES, *WALLET, *CHAIN, *NODES, *ACCESS, *SERVICE)
ROOM = Path(diagnostics.__path__[0])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_evidence_decides_the_cause(case: Case) -> None:
    """These facts have this verdict and cause, say what was seen, and lead to this fix or to an advice."""
    result = climb([check_of(case.check)], case.facts, HOST)[0]

    assert (result.cause, result.verdict) == (case.cause, case.verdict)
    assert result.fixes[:1] == ((case.fix,) if case.fix else ())
    assert result.fixes or result.advice
    assert all(result.evidence)
    assert result.evidence


def test_every_cause_has_its_case() -> None:
    """A cause that is described and that no evidence of the table leads to is missing here, and the other way round."""
    described = {(check.id, cause.id) for check in CATALOGUE for cause in check.causes}

    assert {(case.check, case.cause) for case in CASES} == described


def _named_in(path: Path) -> Iterator[str]:
    """Causes that a module's judgements write out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"fail", "warn"}:
            for part in ast.walk(node.args[0]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def test_no_judgement_names_a_cause_that_nobody_described() -> None:
    """Every word that a module gives to ``fail`` or ``warn`` is a cause of one of the checks."""
    known = {cause.id for check in CATALOGUE for cause in check.causes}
    named = {word for path in ROOM.glob("*.py") for word in _named_in(path)}

    assert len(named) > 100
    assert named - known - {"hides_"} == set()  # the last word of that one is in the table


@pytest.mark.parametrize(
    ("check", "words", "fine"),
    [
        ("host.ssh_key", get_args(KeyTrouble), {""}),
        ("chain.endpoint", get_args(Reach), {"", "ok"}),
        ("service.engine", get_args(EngineState), {"", "running", "absent"}),
        ("service.database", get_args(BaseState), {"", "ok", "absent"}),
    ],
)
def test_what_a_look_may_report_is_a_cause(check: str, words: tuple[str, ...], fine: set[str]) -> None:
    """Where a look names the trouble itself, its words are exactly the causes of that check."""
    assert {cause.id for cause in check_of(check).causes} == set(words) - fine
