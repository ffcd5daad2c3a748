"""One line of the table: these facts are explained by this cause, and this repairs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.diagnostics.model import Verdict

WARNING, FAILED = Verdict.WARNING, Verdict.FAILED


@dataclass(frozen=True)
class Case:
    """``facts`` are whatever the check judges; ``fix`` is the best fix, empty where a person has to act."""

    check: str
    cause: str
    verdict: Verdict
    facts: Any
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.check} {self.cause}"
