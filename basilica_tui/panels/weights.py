"""The vector in force in a few lines: when, by which rules, burn, categories, and what went wrong last. Pure."""

from __future__ import annotations

from basilica_tui.format import Line, Look, ago
from basilica_tui.lines import fit_line, join, line_width
from basilica_tui.store import ConsoleStore

POOL_LINES = 5
"""Categories that get a line; more are counted."""
NO_RENTALS = "Rentals: none; this engine scores and sets weights, and rents nothing out."


def weight_lines(store: ConsoleStore, look: Look, width: int) -> list[Line]:
    """As many lines as ``weight_height`` says."""
    engine = store.engine
    lines: list[Line] = []
    if engine.weights_block is None:
        lines.append((("no weights set yet by this engine", "dim"), _due(store)))
    else:
        long, short = _in_force(store, look)
        wide = join(long, (f"  {look.symbols.dot}  ", "dim"))
        is_short = line_width(wide) >= width
        lines.append(join(short, (f" {look.symbols.dot} ", "dim")) if is_short else wide)
    if engine.weights_error:
        lines.append((("last attempt failed: ", "bad"), (engine.weights_error, "bad")))
    shown = engine.weights_pools[:POOL_LINES]
    lines += [((pool, "warn" if "burnt" in pool else ""),) for pool in shown]
    if more := len(engine.weights_pools) - len(shown):
        lines.append(((f"and {more} more categories", "dim"),))
    lines.append(((NO_RENTALS, "dim"),))
    return [fit_line(((" ", ""), *line), width, look.symbols.ellipsis) for line in lines]


def _in_force(store: ConsoleStore, look: Look) -> tuple[list[Line], list[Line]]:
    """When it was set, when the next one is, burn and rules: in full, and for eighty columns."""
    engine = store.engine
    burn = 100 * engine.weights_burn / 65_535
    share = (f"{burn:.2f} %", "warn" if burn > 50 else "")
    block, when = f"{engine.weights_block:,}", ago(engine.weights_at, look)
    rules = f"{engine.weights_profile}, version key {engine.weights_version_key}"
    long: list[Line] = [
        (("set at block ", "dim"), (block, ""), (f" {when}", "dim")),
        (_due(store),),
        (("burn ", "dim"), share),
        ((rules, "dim"),),
    ]
    short: list[Line] = [
        ((block, ""), (f" {when}", "dim")),
        *long[1:3],
        ((rules.replace("version key", "key"), "dim"),),
    ]
    return long, short


def weight_height(store: ConsoleStore) -> int:
    """How many lines there are now."""
    engine = store.engine
    pools = len(engine.weights_pools)
    return 2 + bool(engine.weights_error) + min(pools, POOL_LINES) + (pools > POOL_LINES)


def _due(store: ConsoleStore) -> tuple[str, str]:
    engine = store.engine
    if engine.weights_next_block is None or engine.block is None:
        return "", ""
    left = engine.weights_next_block - engine.block
    return (f"next in {left:,} blocks", "") if left > 0 else ("next one is due", "accent")
