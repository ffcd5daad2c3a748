"""What checks find: problems that stop the engine and warnings that do not, each tied to a key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.config.problems import shown

Where = Callable[[str], str]
"""Names the file or the variable that a key comes from."""


@dataclass
class Findings:
    """Collects one sentence per finding, in the order of the checks."""

    where: Where
    problems: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)

    def problem(self, key: str, value: object, words: str) -> None:
        """Add ``WHERE: KEY is VALUE, WORDS``."""
        self.problems.append((key, self._sentence(key, value, words)))

    def warn(self, key: str, value: object, words: str) -> None:
        """The same as a warning."""
        self.warnings.append((key, self._sentence(key, value, words)))

    def _sentence(self, key: str, value: object, words: str) -> str:
        return f"{self.where(key)}: {key} is {shown(key, value)}, {words}"
