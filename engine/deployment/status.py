"""How an engine's service stands: installed, active, restarted for ever, and what its hardening hides."""

from __future__ import annotations

import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.deployment.access import barred, owner_words
from engine.deployment.files import UNIT
from engine.deployment.hiding import hidden_by
from engine.deployment.install import ServiceChoice
from engine.deployment.needs import owner_of
from engine.deployment.settings import UnitSettings, parse_unit

_SHOWN = ("LoadState", "UnitFileState", "ActiveState", "SubState", "Restart", "NRestarts", "StatusText", "WatchdogUSec")
_PLACES = (Path("/etc/systemd/system"), Path("/run/systemd/system"), Path("/usr/lib/systemd/system"))


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What was found. Empty text: not known, since systemd does not run here."""

    unit: str
    has_systemd: bool
    files: tuple[str, ...]
    enabled: str
    active: str
    restart: str
    restarts: str
    says: str
    problems: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """As ``systemctl status``: 0 active, 3 installed and not active, 4 not installed."""
        if not self.files:
            return 4
        return 0 if self.active == "active" else 3

    def to_json(self) -> dict[str, object]:
        """For scripts."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        found = [self.unit]
        if not self.has_systemd:
            found.append("  systemd does not run on this host, so nothing here can be active; files only")
        found.append(f"  files      {', '.join(self.files) or 'none: not installed'}")
        if self.has_systemd and self.files:
            found.append(f"  state      {self.active}, {self.enabled}")
            found.append(f"  restarts   {self.restarts}")
            if self.says:
                found.append(f"  says       {self.says}")
        if self.files:
            found.append(f"  restart    {self.restart or 'not set'}")
        found += [f"  problem    {problem}" for problem in self.problems]
        if self.files and not self.problems:
            found.append("  sandbox    hides nothing that the configuration needs")
        return found


def has_systemd() -> bool:
    """Whether systemd manages this host (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir() and not Path("/run/systemd/system").is_symlink() and _is_pid_1()


def _is_pid_1() -> bool:
    try:
        return Path("/proc/1/comm").read_text(encoding="ascii").strip() == "systemd"
    except OSError:
        return False


def look_at_service(choice: ServiceChoice, *, running: bool | None = None) -> ServiceStatus:
    """Read the unit's files and ask the manager, if there is one (``running``: do not find out)."""
    managed = has_systemd() if running is None else running
    files = unit_files(choice)
    unit = parse_unit(*(Path(file).read_text(encoding="utf-8", errors="replace") for file in files),
                      instance=choice.needs.name)  # fmt: skip
    shown = _ask(choice) if managed and files else {}
    return ServiceStatus(
        unit=choice.unit,
        has_systemd=managed,
        files=tuple(str(file) for file in files),
        enabled=shown.get("UnitFileState", ""),
        active=shown.get("ActiveState", ""),
        restart=unit.get("Restart"),
        restarts=shown.get("NRestarts", ""),
        says=shown.get("StatusText", ""),
        problems=tuple(_problems(choice, unit)) if files else (),
    )


def unit_files(choice: ServiceChoice) -> tuple[Path, ...]:
    """The template and the drop-ins that apply to this instance, in systemd's order."""
    places = (choice.units,) if choice.for_user else (choice.units, *(p for p in _PLACES if p != choice.units))
    unit = next((place / name for place in places for name in (choice.unit, UNIT) if (place / name).is_file()), None)
    if unit is None:
        return ()
    drop_ins = {
        path.name: path
        for name in (UNIT, choice.unit)
        for place in reversed(places)
        for path in (place / f"{name}.d").glob("*.conf")
    }
    return (unit, *(drop_ins[name] for name in sorted(drop_ins)))


def other_instances(choice: ServiceChoice) -> bool:
    """Whether somebody else still uses the template."""
    stem = UNIT.partition("@")[0]
    return any(path.name != f"{choice.unit}.d" for path in choice.units.glob(f"{stem}@?*.service.d"))


def _problems(choice: ServiceChoice, unit: UnitSettings) -> list[str]:
    found = [hidden.words for hidden in hidden_by(unit, choice.needs)]
    if not unit.restarts_always:
        found.append(f"Restart={unit.get('Restart', 'no')} leaves a stopped engine stopped; use Restart=always")
    owner = owner_of(choice.needs.hotkey)
    user = unit.get("User", "root")
    if not choice.for_user and owner and user not in {owner, "root"}:
        found.append(f"the hotkey {choice.needs.hotkey} belongs to {owner}, and the service runs as {user}")
    elif (
        not choice.for_user and owner and user == "root" and owner != "root" and "CapabilityBoundingSet" in unit.values
    ):
        found.append(f"the hotkey belongs to {owner}: root without capabilities cannot read it; set User={owner}")
    for need in () if choice.for_user else barred(choice.needs, user):
        if need.path != choice.needs.hotkey:
            found.append(f"{user} may not use {need.what} {need.path} ({owner_words(need.path)})")
    return found


def _ask(choice: ServiceChoice) -> dict[str, str]:
    scope = ["--user"] if choice.for_user else []
    try:
        done = subprocess.run(
            ["systemctl", *scope, "show", "--no-pager", "-p", ",".join(_SHOWN), choice.unit],
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {key: value for key, _, value in pairs}
