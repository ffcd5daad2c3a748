"""One node's verification as a ladder of steps, and the queue in a few words. Pure, no Textual."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from basilica_tui.format import Line, Look, age, bar, plural, remaining, stamp
from basilica_tui.lines import field
from engine.control.models import EngineView, VerificationView

NAME_WIDTH = 14
BAR_WIDTH = 13
VERDICTS: Mapping[str, str] = {"ok": "good", "failed": "bad", "skipped": "dim", "impossible": "warn"}


@dataclass(frozen=True, slots=True)
class Step:
    """One step as the engine told it."""

    name: str
    verdict: str
    milliseconds: float | None
    evidence: str


def steps_of(view: VerificationView) -> tuple[Step, ...]:
    """The steps of the full verification that are done."""
    return _steps_in(view.steps)


def _steps_in(texts: Iterable[str]) -> tuple[Step, ...]:
    """Steps as the engine told them; text that is none is left out."""
    found = []
    for text in texts:
        name, _, rest = text.partition(" ")
        verdict, _, rest = rest.partition(" ")
        took, _, evidence = rest.partition(" ")
        if verdict in VERDICTS:
            found.append(Step(name, verdict, float(took) if took.isdigit() else None, evidence))
    return tuple(found)


def progress_words(view: VerificationView, look: Look) -> tuple[str, str]:
    """What happens to the node right now: queued, how far it is, or that it is rented."""
    if view.phase == "queued":
        return f"queued {age(view.phase_since, look)}", "dim"
    if view.phase == "running":
        done, total = len(view.steps), view.steps_total
        if view.phase_tier == "lightweight":
            done, total = len(view.light_steps), view.light_total
        return f"{bar(view.progress, 6, look.symbols)} {done}/{total or '?'}", "accent"
    if view.rental_id:
        return f"rented {age(view.rented_since, look)}", "accent"
    return look.symbols.dash, "dim"


def queue_line(views: Iterable[VerificationView], engine: EngineView, look: Look) -> Line:
    """``queue 3 · running 2/1,024 full, 12 light · failed 1 · visits 4/50 miners``; limits as far as they are told.

    What a narrow terminal cuts off stands last.
    """
    queued = running = light = failed = 0
    visited: set[str] = set()
    for view in views:
        queued += view.phase == "queued"
        running += view.phase == "running" and view.phase_tier != "lightweight"
        if view.phase == "running" and view.phase_tier == "lightweight":
            light += 1
            visited.add(view.miner_hotkey)
        failed += view.state in ("failed", "access_lost")
    dot = f"  {look.symbols.dot}  "
    visits = f"{dot}visits {len(visited):,}/{engine.miner_slots:,} miners" if visited and engine.miner_slots else ""
    return (
        (f"queue {queued:,}", "accent" if queued else "dim"),
        (dot, "dim"),
        (_running(running, light, engine), "accent" if running or light else "dim"),
        (dot, "dim"),
        (f"failed {failed:,}", "bad" if failed else "dim"),
        (visits, "dim"),
    )


def _running(full: int, light: int, engine: EngineView) -> str:
    limit = f"/{engine.full_slots:,}" if engine.full_slots else ""
    words = f"running {full:,}{limit}" + (" full" if light or limit else "")
    return f"{words}, {light:,} light" if light else words


def verification_lines(view: VerificationView, look: Look) -> list[Line]:
    """Everything about one node: whose, the verdict, what runs, the ladder, the GPUs."""
    symbols = look.symbols
    word = view.state or "not verified yet"
    tone = {"passed": "good", "failed": "bad", "access_lost": "bad"}.get(view.state, "dim")
    lines: list[Line] = [
        (),
        ((" VERIFICATION ", "title"), (view.node_id, "accent")),
        (),
        _row("miner", (view.miner_hotkey or symbols.dash, "accent"), (f"   uid {view.miner_uid}", "dim")),
        _row("address", (view.endpoint or symbols.dash, "")),
        _row("result", (word, tone), (f"   {view.tier} {stamp(view.at, look)}" if view.at is not None else "", "dim")),
    ]
    if view.message:
        lines.append(_row("reason", (view.message, "bad" if tone == "bad" else "")))
    lines.append(_row("tally", (f"{view.passed:,} passed, {view.failed:,} failed since the engine started", "")))
    if view.banned_until is not None and view.banned_until > look.now:
        lines.append(_row("banned", (f"for {remaining(view.banned_until, look)}; it misbehaved", "bad")))
    if view.rental_id:
        since = ("", "dim") if view.rented_since is None else (f"   since {stamp(view.rented_since, look)}", "dim")
        lines.append(_row("rented", (view.rental_id, "accent"), since))
    if view.phase:
        words, phase_tone = progress_words(view, look)
        lines.append(_row("now", (f"{view.phase_tier} {words}", phase_tone), (f"   {view.phase_reason}", "dim")))
    lines += [(), ((" STEPS OF THE NEWEST FULL VERIFICATION", "title"),)]
    steps = steps_of(view)
    if not steps:
        none = " none since the engine started; older ones are in the store (REST: /verification/results)"
        lines.append(((none, "dim"),))
    lines += [_step_line(step, look) for step in steps]
    if view.phase == "running" and view.phase_tier != "lightweight" and view.steps_total > len(steps):
        left = view.steps_total - len(steps)
        lines.append(((f" {symbols.half} {plural(left, 'step')} to go", "accent"),))
    light = _steps_in(view.light_steps)
    if light:
        lines += [(), ((" STEPS OF THE NEWEST LIGHTWEIGHT CHECK", "title"),)]
        lines += [_step_line(step, look) for step in light]
    if view.gpu_uuids:
        lines += [(), ((f" {plural(len(view.gpu_uuids), 'GPU')} ", "title"), (view.gpu_model, ""))]
        lines += [((f"   {uuid}", "dim"),) for uuid in view.gpu_uuids]
    return lines


def _row(name: str, *spans: tuple[str, str]) -> Line:
    return ((" ", ""), *field(name, spans, NAME_WIDTH))


def _step_line(step: Step, look: Look) -> Line:
    tone = VERDICTS[step.verdict]
    mark = {"good": look.symbols.good, "bad": look.symbols.bad, "warn": look.symbols.warn}.get(tone, look.symbols.dot)
    took = look.symbols.dash if step.milliseconds is None else f"{step.milliseconds:,.0f} ms"
    return (
        (f" {mark} ", tone),
        (f"{step.name:<12}", ""),
        (f"{step.verdict:<11}", tone),
        (f"{took:>10}  ", "dim"),
        (step.evidence, "" if step.verdict != "skipped" else "dim"),
    )
