"""What stands above and below the scores table: the three figures, and what the selected node would cost."""

from __future__ import annotations

from basilica_tui import format as f
from basilica_tui.format import Line, Look, Span
from basilica_tui.lines import fit_line, fold_line, join_fitting
from basilica_tui.panels.boxes import score_figures
from basilica_tui.scores_table import effective_gpus, what_if
from basilica_tui.store import ConsoleStore
from engine.control.models import NodeView


def score_line(store: ConsoleStore, look: Look, width: int) -> Line:
    """Observed, on chain, estimated; then the fleet's counted GPUs and the emission."""
    observed, chain, estimated = score_figures(store)
    engine = store.engine
    parts: list[Line] = [
        (("observed ", "dim"), _figure(observed, 2), (_source(store, look), "dim")),
        (("on chain ", "dim"), _figure(chain, 4)),
        (("estimated ", "dim"), _figure(estimated, 2)),
    ]
    counted = [g for g in map(effective_gpus, store.nodes.values()) if g is not None]
    if counted:
        total = sum(n.gpu_count or 0 for n in store.nodes.values())
        parts.append((("counted GPUs ", "dim"), (f"{sum(counted):.1f} of {total}", "")))
    if engine.emission is not None:
        parts.append((("emission ", "dim"), (f.tao(engine.emission, look), "")))
    if engine.own_weight is not None:
        told = sum(not text.endswith(" -") for text in engine.own_weights)
        whose = f" of {told} of {len(engine.own_weights)} validators by stake"
        parts.append((("weight ", "dim"), (f"{engine.own_weight:.4f}", ""), (whose, "dim")))
    return fit_line(((" ", ""), *join_fitting(parts, width - 2, ("   ", ""))), width, look.symbols.ellipsis)


def _figure(value: float | None, digits: int) -> Span:
    return (f.NOT_KNOWN, "dim") if value is None else (f"{value:.{digits}f}", "title")


def _source(store: ConsoleStore, look: Look) -> str:
    engine = store.engine
    if engine.observed_score is None or engine.observed_rest_at is None:
        return ""
    return f" ({f.ago(engine.observed_rest_at, look)})"


def what_if_lines(node: NodeView | None, look: Look, width: int) -> list[Line]:
    """The cost of a failure now in as many lines as it takes, and how the estimate is made if that was one."""
    sentence: Line = (what_if(node, look),) if node is not None else (("no node is selected", "dim"),)
    formula = join_fitting(
        [
            (("estimate = half SSH success + half last full validation", "dim"),),
            (("counted = GPUs × ramp, 14 days to 100 %".replace("×", look.symbols.times), "dim"),),
        ],
        width - 2,
        (f" {look.symbols.dot} ", "dim"),
    )
    lines = fold_line(sentence, width - 2)
    lines = lines if len(lines) > 1 else [*lines, formula]
    return [fit_line(((" ", ""), *line), width, look.symbols.ellipsis) for line in lines]
