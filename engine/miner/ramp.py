"""How far each node is on its 14-day ramp, estimated from what a miner can see. Pure.

A validator counts a node's unbroken successes; the miner sees only that a validator came, whether its key was in
place, and what its own checks found. The estimate rests on these assumptions, all in ``RampRules``:

* A visit (a discovery whose key went onto the node) is a passed validation if the node's own checks pass as well.
* The first visit of a validator is a full validation, and so is the first one six hours after the last full one.
* Between visits a validator that came within the last hour looks every ten minutes, so a failure that lasts that long
  was seen. One that nobody can have seen resets nothing.
* Each validator counts by itself.

By the documents every failure that was seen ends the run. The deployed validator (October 2025) forgets a node only
when its row is cleaned up, 20 minutes into an outage at the earliest; its GPUs count for nothing until then.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from engine.scores.ramp import RAMP_MINUTES, Ramp, ramp_since

RampProfile = Literal["documented", "deployed-2025-10"]
MAX_RUNS = 8
MAX_RESETS = 10
MAX_CAUSE = 160


@dataclass(frozen=True, slots=True)
class RampRules:
    """The assumptions, seconds."""

    profile: RampProfile = "documented"
    check_interval_s: float = 600.0
    full_interval_s: float = 6 * 3600.0
    watched_for_s: float = 3600.0
    """A validator is taken to look at the node for this long after its last visit."""
    cleanup_after_s: float = 1200.0

    @property
    def outage_s(self) -> float:
        """The shortest failure under a validator's eyes that ends a run."""
        return self.check_interval_s if self.profile == "documented" else self.cleanup_after_s


@dataclass(frozen=True, slots=True)
class Run:
    """What one validator is taken to have counted; ``since`` is None while no run is open."""

    hotkey: str
    last_visit_at: float
    since: float | None = None
    last_full_at: float | None = None
    last_full_ok: bool | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """A run that ended."""

    at: float
    cause: str
    minutes_lost: int


@dataclass(frozen=True, slots=True)
class NodeRamp:
    """Everything that the estimate of one node remembers."""

    runs: tuple[Run, ...] = ()
    failing_since: float | None = None
    failing_cause: str = ""
    is_reachable: bool = True
    """False while the node's own checks fail before a command can run: a visit then proves them wrong."""
    resets: tuple[Reset, ...] = ()
    resets_total: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which work on the node would miss what it names."""

    begins_at: float
    ends_at: float
    misses: Literal["every check", "the full validation"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The run that counts now. Without a visit so far everything is empty."""

    hotkey: str = ""
    ramp: Ramp = field(default_factory=Ramp)
    last_full_ok: bool | None = None
    is_watched: bool = False
    next_full_at: float | None = None
    quiet_until: float | None = None
    """The next check of any kind is not expected before."""


def after_check(
    ramp: NodeRamp, at: float, *, ok: bool, cause: str = "", is_reachable: bool = True, rules: RampRules
) -> NodeRamp:
    """The state after one of our own checks."""
    if ok:
        return replace(ramp, failing_since=None, failing_cause="", is_reachable=True)
    failing_since = at if ramp.failing_since is None else ramp.failing_since
    failing = replace(ramp, failing_since=failing_since, failing_cause=cause[:MAX_CAUSE], is_reachable=is_reachable)
    if at - failing_since < rules.outage_s:
        return failing
    minutes = rules.outage_s / 60
    seen = [run for run in ramp.runs if at - run.last_visit_at <= rules.watched_for_s]
    return _end_runs(failing, seen, at, f"failed for {minutes:g} min: {cause}")


def after_visit(
    ramp: NodeRamp, hotkey: str, at: float, *, is_open: bool, cause: str = "", rules: RampRules
) -> NodeRamp:
    """The state after a validator called; ``is_open`` says whether its key was in place on this node."""
    if is_open and not ramp.is_reachable:
        ramp = replace(ramp, failing_since=None, failing_cause="", is_reachable=True)
    passed = is_open and ramp.failing_since is None
    run = next((run for run in ramp.runs if run.hotkey == hotkey), None)
    if run is None:
        ramp = _note_newcomer(ramp, at, rules) if passed else ramp
        run = Run(hotkey, at)
    run = replace(run, last_visit_at=at)
    if passed:
        is_full = run.last_full_at is None or at - run.last_full_at >= rules.full_interval_s
        run = replace(
            run,
            since=at if run.since is None else run.since,
            last_full_at=at if is_full else run.last_full_at,
            last_full_ok=True if is_full else run.last_full_ok,
        )
    else:
        # A node that failed is offline for the validator: its next validation is a full one.
        run = replace(run, last_full_at=None, last_full_ok=False)
    others = [other for other in ramp.runs if other.hotkey != hotkey]
    ramp = replace(ramp, runs=tuple([run, *others][:MAX_RUNS]))
    if passed or rules.profile != "documented":
        return ramp
    return _end_runs(ramp, [run], at, f"a validator came while it failed: {cause or ramp.failing_cause}")


def estimate(ramp: NodeRamp, now: float, rules: RampRules) -> Estimate:
    """What the validator that counts now is taken to have: the longest run under watch, else the last visitor's."""
    if not ramp.runs:
        return Estimate()
    watched = [run for run in ramp.runs if now - run.last_visit_at <= rules.watched_for_s]
    if watched:
        run = min(watched, key=lambda one: math.inf if one.since is None else one.since)
    else:
        run = max(ramp.runs, key=lambda one: one.last_visit_at)
    last_reset = ramp.resets[-1].at if ramp.resets else None
    return Estimate(
        hotkey=run.hotkey,
        ramp=ramp_since(run.since, now, last_reset_at=last_reset),
        last_full_ok=run.last_full_ok,
        is_watched=bool(watched),
        next_full_at=_next_full(run, now, rules) if watched else None,
        quiet_until=run.last_visit_at + rules.check_interval_s if watched else None,
    )


def maintenance_windows(found: Estimate, now: float, rules: RampRules, *, count: int = 3) -> tuple[Window, ...]:
    """When work on the node would miss the next check at all, and when it would miss the next full validations.

    Light checks go on within the latter: by the documents a failed one ends the run too, by the deployed rules it
    only takes the node's GPUs out until the next full validation. Empty when no validator looks at the node.
    """
    if not found.is_watched or found.next_full_at is None:
        return ()
    windows = []
    if found.quiet_until is not None and found.quiet_until > now:
        windows.append(Window(now, found.quiet_until, "every check"))
    begins_at, ends_at = now, found.next_full_at
    for _ in range(count):
        if ends_at > begins_at:
            windows.append(Window(begins_at, ends_at, "the full validation"))
        # The full validation itself comes with the first round after it is due.
        begins_at, ends_at = ends_at + rules.check_interval_s, ends_at + rules.full_interval_s
    return tuple(windows)


@dataclass(frozen=True, slots=True)
class NodeShare:
    """What one node brings: its GPUs, their category, how far its ramp is."""

    node_id: str
    category: str
    gpus: int
    ramp: Ramp

    @property
    def effective_gpus(self) -> float:
        """GPUs times ramp."""
        return self.gpus * self.ramp.multiplier


@dataclass(frozen=True, slots=True)
class FailureCost:
    """What a failure now takes. ``share`` is the part of this miner's effective GPUs of the category, 0 to 1."""

    effective_gpus: float
    share: float
    minutes: int
    full_at_before: float | None
    full_at_after: float


def effective_by_category(fleet: Iterable[NodeShare]) -> dict[str, float]:
    """The miner's effective GPUs of each category."""
    found: dict[str, float] = {}
    for node in fleet:
        found[node.category] = found.get(node.category, 0.0) + node.effective_gpus
    return found


def cost_of_failure(node: NodeShare, effective: Mapping[str, float], now: float) -> FailureCost:
    """The cost if the node fails a validation now and recovers at once."""
    category = effective.get(node.category, 0.0)
    return FailureCost(
        effective_gpus=node.effective_gpus,
        share=node.effective_gpus / category if category > 0 else 0.0,
        minutes=min(node.ramp.minutes, RAMP_MINUTES),
        full_at_before=node.ramp.full_at,
        full_at_after=now + RAMP_MINUTES * 60,
    )


def _next_full(run: Run, now: float, rules: RampRules) -> float:
    return now if run.last_full_at is None else max(now, run.last_full_at + rules.full_interval_s)


def _note_newcomer(ramp: NodeRamp, at: float, rules: RampRules) -> NodeRamp:
    """A validator that comes for the first time counts from zero, which looks like a reset to whoever watches."""
    earlier = estimate(ramp, at, rules)
    if earlier.ramp.minutes == 0:
        return ramp
    return _note(ramp, Reset(at, "another validator came, which counts from its own first visit", earlier.ramp.minutes))


def _end_runs(ramp: NodeRamp, runs: Sequence[Run], at: float, cause: str) -> NodeRamp:
    ending = {run.hotkey for run in runs}
    lost = [ramp_since(run.since, at).minutes for run in ramp.runs if run.hotkey in ending and run.since is not None]
    kept = tuple(
        replace(run, since=None, last_full_at=None, last_full_ok=False) if run.hotkey in ending else run
        for run in ramp.runs
    )
    ramp = replace(ramp, runs=kept)
    return _note(ramp, Reset(at, cause[:MAX_CAUSE], max(lost))) if lost else ramp


def _note(ramp: NodeRamp, reset: Reset) -> NodeRamp:
    return replace(ramp, resets=(*ramp.resets[1 - MAX_RESETS :], reset), resets_total=ramp.resets_total + 1)


def ramp_to_json(ramp: NodeRamp) -> dict[str, object]:
    """For the store."""
    return {
        "runs": [[r.hotkey, r.last_visit_at, r.since, r.last_full_at, r.last_full_ok] for r in ramp.runs],
        "failing_since": ramp.failing_since,
        "failing_cause": ramp.failing_cause,
        "is_reachable": ramp.is_reachable,
        "resets": [[r.at, r.cause, r.minutes_lost] for r in ramp.resets],
        "resets_total": ramp.resets_total,
    }


def ramp_from_json(value: object) -> NodeRamp:
    """What ``ramp_to_json`` wrote; an empty state for anything else."""
    if not isinstance(value, dict):
        return NodeRamp()
    try:
        return NodeRamp(
            runs=tuple(Run(str(r[0]), float(r[1]), _opt(r[2]), _opt(r[3]), r[4]) for r in value["runs"]),
            failing_since=_opt(value["failing_since"]),
            failing_cause=str(value["failing_cause"]),
            is_reachable=bool(value["is_reachable"]),
            resets=tuple(Reset(float(r[0]), str(r[1]), int(r[2])) for r in value["resets"]),
            resets_total=int(value["resets_total"]),
        )
    except (KeyError, IndexError, TypeError, ValueError):
        return NodeRamp()


def _opt(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
