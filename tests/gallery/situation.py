"""The shape of one broken situation, and how the gallery's table is printed for the documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.gallery.machine import Machine


@dataclass(frozen=True)
class NodeSituation:
    """Something wrong with one node, made for real."""

    name: str
    check: str
    cause: str
    fix: str
    """Empty where only advice helps."""
    break_it: Callable[[Machine], None]
    after: Callable[[Machine], None] | None = None
    """What happens once the machine runs."""
    repaired: bool = True
    """Whether the doctor's fix is run and the check is fine afterwards; False needs a reason in ``why_not``."""
    why_not: str = ""
    disk_min_gb: float = 0.05
    node: str = ""
    beside: frozenset[str] = frozenset()
    """Checks that this situation rightly fails too."""

    def __str__(self) -> str:
        return self.name
