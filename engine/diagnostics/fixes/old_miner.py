"""Fixes about the deployed miner: ending it for good, and taking its work over."""

from __future__ import annotations

from pathlib import Path

from engine.diagnostics.fixes.common import (
    CannotFixError,
    Case,
    Fix,
    config_path,
    local_step,
    ourselves,
    service_step,
    systemctl_step,
)
from engine.diagnostics.plan import LocalCommand, Step

KEPT = "before-take-over"
OWN_NAME = "basilica-tui-miner.toml"
"""Beside the deployed miner's own file, where that is the configuration that was looked at: it stays as it is."""


def _stop(case: Case) -> tuple[Step, ...]:
    unit, state = case.data.get("old_unit", ""), case.data.get("old_state", "").split()
    if not unit:
        raise CannotFixError("the deployed miner was not started by systemd; end its process (or container) by hand")
    back = ("enable", "--now") if {"runs", "enabled"} <= set(state) else ("start",) if "runs" in state else ("enable",)
    return (systemctl_step("stop the deployed miner for good", "disable", "--now", unit, undo=(*back, unit)),)


def _take_over(case: Case) -> tuple[Step, ...]:
    stop = _stop(case)
    old, target = case.data.get("old_config", ""), config_path(case)
    if old and Path(old).resolve() == target.resolve():
        target = target.with_name(OWN_NAME)
    start = service_step("install this engine as a service, and start it", target)
    return (*_keep(target), _read(old, target), *stop, start)


def _keep(target: Path) -> tuple[Step, ...]:
    """A copy of what is replaced, which the way back takes."""
    if not target.exists():
        return ()
    kept = target.with_name(f"{target.name}.{KEPT}")
    words, back = (("cp", "-p", str(one), str(other)) for one, other in ((target, kept), (kept, target)))
    title = "keep a copy of the present configuration"
    return (local_step(title, " ".join(words), LocalCommand(words, back), " ".join(back)),)


def _read(old: str, target: Path) -> Step:
    source = ("--from", old) if old else ()
    words = ("import", *source, "--to", str(target), "--write", "--strict")
    back = () if target.exists() else ("rm", "-f", str(target))
    return local_step(
        "read the deployed miner's set-up into our configuration; node ids and ramps stay",
        f"basilica-tui {' '.join(words)}",
        LocalCommand(ourselves(*words), back),
        " ".join(back) or "by the copy",
        as_whom="root",
    )


FIXES = (
    Fix("host.stop_old_miner", "stop the deployed miner", _stop, "validators that it serves lose their access"),
    Fix(
        "host.take_over",
        "take over from the deployed miner",
        _take_over,
        "one of the two serves at a time; ids of nodes stay, so that no ramp starts again; keys that it left on the "
        "nodes stay until node.remove_leftovers",
    ),
)
