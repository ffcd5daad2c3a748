"""The vector in force in a few lines: when, by which rules, burn, categories, and what went wrong last. Pure."""

from __future__ import annotations

from basilica_tui.format import Line, Look, ago
from basilica_tui.lines import fit_line, join
from basilica_tui.store import ConsoleStore

POOL_LINES = 5
"""Categories that get a line; more are counted."""
NO_RENTALS = "Rentals: none; this engine scores and sets weights, and rents nothing out."


def weight_lines(store: ConsoleStore, look: Look, width: int) -> list[Line]:
    """As many lines as ``weight_height`` says."""
    engine = store.engine
    dot = (f"  {look.symbols.dot}  ", "dim")
    lines: list[Line] = []
    if engine.weights_block is None:
        lines.append((("no weights set yet by this engine", "dim"), _due(store)))
    else:
        burn = 100 * engine.weights_burn / 65_535
        lines.append(
            join(
                [
                    (
                        ("set at block ", "dim"),
                        (f"{engine.weights_block:,}", ""),
                        (f" {ago(engine.weights_at, look)}", "dim"),
                    ),
                    (_due(store),),
                    (("burn ", "dim"), (f"{burn:.2f} %", "warn" if burn > 50 else "")),
                    ((f"{engine.weights_profile}, version key {engine.weights_version_key}", "dim"),),
                ],
                dot,
            )
        )
    if engine.weights_error:
        lines.append((("last attempt failed: ", "bad"), (engine.weights_error, "bad")))
    shown = engine.weights_pools[:POOL_LINES]
    lines += [((pool, "warn" if "burnt" in pool else ""),) for pool in shown]
    if more := len(engine.weights_pools) - len(shown):
        lines.append(((f"and {more} more categories", "dim"),))
    lines.append(((NO_RENTALS, "dim"),))
    return [fit_line(((" ", ""), *line), width, look.symbols.ellipsis) for line in lines]


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
