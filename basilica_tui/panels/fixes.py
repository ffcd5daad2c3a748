"""The ranked list of what to fix first."""

from __future__ import annotations

from collections.abc import Sequence

from basilica_tui.fix_first import Fix
from basilica_tui.format import Line, Look, plural
from basilica_tui.lines import fit_line, spread
from basilica_tui.text import clean, cut, fit

COSTS_WIDTH = 18
KEY_WIDTH = 5


def fix_lines(fixes: Sequence[Fix], look: Look, width: int, rows: int, *, nothing: str, chosen: int = -1) -> list[Line]:
    """A title line and ``rows`` lines of problems; what does not fit is counted in the title."""
    wide = width >= 100
    more = len(fixes) - rows
    hidden: Line = ((f"   and {plural(more, 'more', 'more')}", "dim"),) if more > 0 else ()
    title: Line = ((" FIX FIRST", "title"), *hidden)
    heads = f"{fit('costs now', COSTS_WIDTH)}  {fit('key', KEY_WIDTH)} "
    lines = [spread(title, ((heads, "dim"),) if wide and fixes else (), width)]
    if not fixes:
        lines.append(fit_line(((f" {look.symbols.tick} ", "good"), (nothing, "good")), width))
    first = max(chosen - rows + 1, 0)
    shown = list(enumerate(fixes))[first : first + rows]
    lines += [_fix_line(fix, look, width, wide=wide, is_chosen=i == chosen) for i, fix in shown]
    return lines[: rows + 1] + [fit_line((), width)] * (rows + 1 - len(lines))


def _fix_line(fix: Fix, look: Look, width: int, *, wide: bool, is_chosen: bool) -> Line:
    s = look.symbols
    mark = {"bad": s.bad, "warn": s.warn, "info": s.half}[fix.level]
    tone = {"bad": "bad", "warn": "warn", "info": "dim"}[fix.level]
    name = fit(clean(fix.subject), 12 if wide else 10, ellipsis=s.ellipsis)
    left: Line = (
        (s.cursor if is_chosen else " ", "accent"),
        (f"{mark} {name} ", tone),
        (clean(fix.message), "title" if is_chosen else ""),
    )
    costs: Line = ((fit(clean(fix.costs) or s.dash, COSTS_WIDTH, ellipsis=s.ellipsis) + "  ", "dim"),) if wide else ()
    return spread(left, ((" ", ""), *costs, (fit(cut(fix.key, KEY_WIDTH), KEY_WIDTH) + " ", "key")), width, s.ellipsis)
