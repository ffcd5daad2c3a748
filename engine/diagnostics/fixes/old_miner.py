"""Fixes about the deployed miner: ending it for good, and taking its work over."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
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
from engine.diagnostics.plan import KeepCopy, LocalCommand, Step

KEPT = "before-take-over"
OWN_NAME = "basilica-tui-miner.toml"
"""Beside the deployed miner's own file, where that is the configuration that was looked at: it stays as it is."""


def _stop(case: Case) -> tuple[Step, ...]:
    unit, state = case.data.get("old_unit", ""), case.data.get("old_state", "").split()
    if loose := case.data.get("old_loose", ""):
        raise CannotFixError(
            f"process {loose} of the deployed miner is in no unit of systemd and no container that Docker shows to "
            "this user: end it by hand, and what starts it"
        )
    steps: list[Step] = []
    if unit and state:
        whole = {"runs", "enabled"} <= set(state)
        back = ("enable", "--now") if whole else ("start",) if "runs" in state else ("enable",)
        steps.append(systemctl_step("stop the deployed miner for good", "disable", "--now", unit, undo=(*back, unit)))
    for box in json.loads(case.data.get("old_containers") or "[]"):
        if not (box["is_removed"] and "runs" in state):  # its unit ends it, and makes a new one when it starts
            steps += _stop_container(**box)
    if not steps:
        raise CannotFixError("neither a unit of systemd nor a container of Docker starts the deployed miner")
    return tuple(steps)


def _stop_container(name: str, runs: bool, restart: str, is_removed: bool, control: list[str]) -> Iterator[Step]:
    """Its restart policy first: ``always`` starts a stopped container with the next boot, ``on-failure`` may."""
    if is_removed:
        raise CannotFixError(f"container {name} is removed when it stops (--rm): stop it by hand, and what starts it")
    *program, last = control
    if restart != "no":
        words, back = (("docker", "update", "--restart", policy, name) for policy in ("no", restart))
        yield _docker_step("keep the deployed miner's container from starting again", words, back)
    if runs:
        stop, start = ((*program, word, last) for word in ("stop", "start"))
        yield _docker_step("stop the deployed miner's container", stop, start)


def _docker_step(title: str, words: tuple[str, ...], back: tuple[str, ...]) -> Step:
    action = LocalCommand(words, back, may_be_half_done=True)
    return local_step(title, shlex.join(words), action, shlex.join(back), as_whom="root")


def _take_over(case: Case) -> tuple[Step, ...]:
    stop = _stop(case)
    old, target = case.data.get("old_config", ""), config_path(case).resolve()
    if old and Path(old).resolve() == target:
        target = target.with_name(OWN_NAME)
    start = service_step("install this engine as a service, and start it", target)
    source = case.data.get("old_source", "") or old
    return (*_pause(case), *_keep(target), _read(source, target), *stop, start)


def _pause(case: Case) -> tuple[Step, ...]:
    """Our own service, where it runs already: first to stop, so that it is the last to start when all is taken back."""
    unit = case.data.get("own_unit", "")
    return (systemctl_step("stop this engine meanwhile", "stop", unit, undo=("start", unit)),) if unit else ()


def _keep(target: Path) -> tuple[Step, ...]:
    """A copy of what is replaced, which the way back takes. Copies of earlier times stay as they are."""
    if not target.exists():
        return ()
    names = (f"{target.name}.{KEPT}{number}" for number in ("", *(f"-{n}" for n in range(2, 1000))))
    kept = next((path for name in names if not (path := target.with_name(name)).exists()), None)
    if kept is None:
        raise CannotFixError(f"there are too many copies of {target} beside it")
    title, words = "keep a copy of the present configuration", f"cp -p {target} {kept}"
    return (local_step(title, words, KeepCopy(target, kept), f"mv {kept} {target}"),)


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
