"""What each phase does. Edges: files, nodes, the chain, the service manager; every one may be done again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from engine.config import load_miner_config, load_validator_config
from engine.config.save import write_config
from engine.deployment import Plan, ServiceChoice, apply_plan, needs_of, plan_install
from engine.deployment.compose import plan_compose
from engine.deployment.install import SYSTEM_UNITS, user_units
from engine.deployment.needs import owner_of
from engine.deployment.status import has_systemd
from engine.errors import ServiceFailed
from engine.setup.answers import Answers
from engine.setup.draft import draft_config, draft_text
from engine.setup.overwriting import losses
from engine.setup.serving import LOG_NAME, compose, door_of, is_serving, last_words, log_command
from engine.version import __version__

Say = Callable[[str], None]
SERVES_WITHIN_S = 120.0


def suggested_service() -> str:
    """What fits this host: systemd for root, a user's own where its manager runs, else a background process."""
    if has_systemd():
        is_user_there = Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"), "systemd").is_dir()
        return "systemd" if os.geteuid() == 0 else "user" if is_user_there else "background"
    return "background"


def service_of(answers: Answers) -> str:
    """The chosen way to run, or what fits."""
    return answers.service or suggested_service()


def install(answers: Answers, say: Say) -> None:
    """The directories and the configuration. Raises ConfigInvalid, OSError."""
    for folder in (answers.config_path.parent, answers.data_dir):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = draft_text(answers)
    told = losses(answers.config_path, text)
    is_same = answers.config_path.exists() and not told
    kept = None if is_same else write_config(answers.config_path, text)
    answers.config_path.chmod(0o600)
    load = load_validator_config if answers.is_validator else load_miner_config
    warnings = load(answers.config_path).warnings
    for words in told:
        say(words)
    if is_same:
        say(f"{answers.config_path} says so already")
    else:
        say(f"wrote {answers.config_path}" + (f"; the file of before is {kept}" if kept else ""))
    for warning in warnings:
        say(f"note: {warning}")


def service_plan(answers: Answers) -> Plan | None:
    """What the chosen service takes; None where no service manager is wanted. Raises ServiceFailed."""
    kind = service_of(answers)
    if kind in ("background", "none"):
        return None
    choice = _choice(answers)
    if kind == "compose":
        owner = choice.needs.hotkey.stat() if choice.needs.hotkey.exists() else None
        ids = (owner.st_uid, owner.st_gid) if owner else (os.geteuid(), os.getegid())
        return plan_compose(choice, answers.base, version=__version__, owner=ids)
    return plan_install(choice, has_systemd=has_systemd())


def deploy(plan: Plan | None, say: Say) -> None:
    """Carry the plan out. Raises ServiceFailed."""
    if plan is None:
        say("no service manager: nobody starts the engine again when it ends")
        return
    apply_plan(plan, say)


async def start(answers: Answers, say: Say, *, within_s: float = SERVES_WITHIN_S) -> str:
    """Start where no manager did, and wait until the engine serves; returns one sentence about it.

    Raises ServiceFailed with the engine's last words.
    """
    kind = service_of(answers)
    if kind == "none":
        return f"start it with: basilica-tui --daemon --config {answers.config_path}"
    process = None
    if not await is_serving(answers, kind):
        if kind == "background":
            process = start_in_background(answers)
            say(f"engine started, pid {process.pid}, log {answers.data_dir / LOG_NAME}")
        elif kind in ("systemd", "user") and not has_systemd():
            raise ServiceFailed(
                "the unit is written, but systemd does not run here, so nothing can start it",
                hint="choose 'background' here, or start the unit on a host with systemd",
            )
    say("waiting until it serves")
    try:
        async with asyncio.timeout(within_s):
            while not await is_serving(answers, kind):
                if process is not None and process.poll() is not None:
                    raise ServiceFailed(
                        f"the engine ended with status {process.returncode}: {last_words(answers, kind)}",
                        hint=f"see {answers.data_dir / LOG_NAME}",
                    )
                await asyncio.sleep(0.3)
    except TimeoutError:
        said = await asyncio.to_thread(last_words, answers, kind)
        raise ServiceFailed(
            f"the engine does not answer within {within_s:.0f} s: {said}",
            hint=f"its log: {log_command(answers, kind)}; what is wrong: basilica-tui doctor --config "
            f"{answers.config_path}; then try again here",
        ) from None
    inside = f"{' '.join(compose(answers))} exec -it {answers.name} " if kind == "compose" else ""
    return (
        f"the engine serves on port {door_of(answers)[1]}; look at it with: {inside}basilica-tui --config "
        f"{answers.config_path}"
    )


def start_in_background(answers: Answers) -> subprocess.Popen[bytes]:
    """A process of its own session, which goes on when this one ends; its output is a log below the data directory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BASILICA_", "BASILCA_"))}
    with (answers.data_dir / LOG_NAME).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "basilica_tui", "--daemon", "--config", str(answers.config_path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=answers.base,
            env=kept,
            start_new_session=True,
        )


def _choice(answers: Answers) -> ServiceChoice:
    needs = needs_of(draft_config(answers), answers.config_path, working_directory=answers.base)
    kind = service_of(answers)
    for_user = kind == "user"
    units = user_units(Path.home()) if for_user else Path(os.environ.get("BASILICA_UNIT_DIR") or SYSTEM_UNITS)
    return ServiceChoice(needs, for_user, units, "" if for_user else owner_of(needs.hotkey) or "root")
