"""Regular expressions that an operator types: none can hold up the console, and a wrong one says what is wrong.

A pattern is tried on every row that is shown, while keys are typed. The library can give up on a text after a time;
what Python's own offers cannot, and ``(a+)+$`` would hold the console for good.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from basilica_tui.text import clean

TRY_S = 0.02
"""How long one row may take; a pattern that is no trap takes a thousandth of it."""
PATTERN_CHARS = 200


@dataclass(slots=True)
class Pattern:
    """A compiled pattern. ``problem`` says why it finds nothing; empty when it is as good as any."""

    source: str
    problem: str = ""
    _compiled: object = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, source: str) -> Pattern:
        """Upper and lower case are the same."""
        import regex  # noqa: PLC0415 - only who types a pattern waits for it

        if len(source) > PATTERN_CHARS:
            return cls(source, f"a pattern has at most {PATTERN_CHARS} characters")
        try:
            return cls(source, "", regex.compile(source, regex.IGNORECASE))
        except (regex.error, OverflowError, RecursionError, MemoryError) as error:
            return cls(source, f"no regular expression: {clean(str(error))}")

    def finds(self, text: str) -> bool:
        """Whether it is somewhere in the text; one that took too long once is not tried again."""
        if self.problem or self._compiled is None:
            return False
        try:
            return self._compiled.search(text, timeout=TRY_S) is not None  # type: ignore[attr-defined]  # untyped library
        except TimeoutError:
            self.problem = "it takes too long; say it in a simpler way"
            return False
