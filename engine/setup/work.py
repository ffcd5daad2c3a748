"""What each phase does. Edges: files, nodes, the chain, the service manager; every one may be done again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.clock import SystemClock
from engine.config import load_miner_config
from engine.config.save import write_config
from engine.control.client import ControlClient
from engine.control.paths import socket_to_call
from engine.deployment import Plan, ServiceChoice, apply_plan, needs_of, plan_install
from engine.deployment.compose import plan_compose
from engine.deployment.install import SYSTEM_UNITS, user_units
from engine.deployment.needs import owner_of
from engine.deployment.status import has_systemd
from engine.diagnostics.doctor import Doctor, Progress, Tools
from engine.diagnostics.model import Report, Scope, Verdict
from engine.diagnostics.patient import patient_of
from engine.errors import BasilicaError, ServiceFailed
from engine.identity.node_ids import node_id_for
from engine.setup.answers import Answers
from engine.setup.draft import draft_config, draft_text
from engine.setup.key_deployment import Deployed, KeyDeployment, WayIn, usual_way_in
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.target import NodeTarget
from engine.version import __version__

Say = Callable[[str], None]
SERVES_WITHIN_S = 120.0
LOG_NAME = "engine.log"


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict of the check phase. ``blocking`` sentences stop the setup; the rest is for the operator to weigh."""

    report: Report
    blocking: tuple[str, ...]
    findings: tuple[str, ...]


def suggested_service() -> str:
    """What fits this host: systemd for root, a user's own where its manager runs, else a background process."""
    if has_systemd():
        is_user_there = Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"), "systemd").is_dir()
        return "systemd" if os.geteuid() == 0 else "user" if is_user_there else "background"
    return "background"


def service_of(answers: Answers) -> str:
    """The chosen way to run, or what fits."""
    return answers.service or suggested_service()


async def prepare_keys(
    answers: Answers, say: Say, *, ask: Callable[[], str] | None = None, password: str | None = None
) -> tuple[Deployed, ...]:
    """The node key, made if missing, and on every node. Raises ClientKeyUnusable, ConfigInvalid."""
    is_new = not answers.key_path.exists()
    key = ClientKey.load_or_create(answers.key_path, "basilica-miner")
    say(f"node key {answers.key_path} {'made' if is_new else 'is there'}: {key.fingerprint}")
    if not answers.deploy_key:
        return ()
    targets = [
        NodeTarget(node_id_for(e.username, e.host, e.port), e.host, e.port, e.username) for e in answers.entries()
    ]
    answers.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    pins = HostKeys(answers.data_dir / "known_hosts")
    way = usual_way_in(Path.home())
    deployment = KeyDeployment(key, pins, clock=SystemClock(), on_done=lambda done: say(words_of(done)))
    done = await deployment.run(targets, WayIn(way.keys, way.agent, password), ask=ask)
    for one in done:
        if one.ending == "needs_password":
            say(words_of(one))
    return done


def words_of(done: Deployed) -> str:
    """One line about one node."""
    mark = "ok" if done.is_in_place else "!!"
    hint = f" ({done.hint})" if done.hint else ""
    return f"{mark} {done.target.label}: {done.words}{hint}"


async def check(answers: Answers, on_progress: Callable[[Progress], None] = lambda _: None) -> Checked:
    """The doctor's checks of the configuration that is to be written. Raises ConfigInvalid."""
    patient = patient_of(draft_config(answers))
    tools = Tools(SystemClock(), with_container=False)
    scopes = (Scope.CONFIG, Scope.WALLET, Scope.NODE)
    report = await Doctor(patient, tools, on_progress=on_progress).examine(scopes)
    return judge(report)


def judge(report: Report) -> Checked:
    """What stops a setup: an engine that would not start, or no node at all that can be entered."""
    failed = [one for one in report.findings if one.verdict is Verdict.FAILED]
    blocking = [
        f"{one.title}: {one.cause_words or '; '.join(one.evidence)}"
        for one in failed
        if one.scope in (Scope.CONFIG, Scope.WALLET)
    ]
    logins = [one for one in report.results if one.check == "node.shell"]
    if logins and not any(one.verdict in (Verdict.OK, Verdict.WARNING) for one in logins):
        blocking.append("no node can be entered with the miner's key")
    findings = [
        f"{one.subject.label}: {one.title}: {one.cause_words or '; '.join(one.evidence)}" for one in report.findings
    ]
    return Checked(report, tuple(blocking), tuple(findings))


def install(answers: Answers, say: Say) -> None:
    """The directories and miner.toml. Raises ConfigInvalid, OSError."""
    for folder in (answers.config_path.parent, answers.data_dir):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = write_config(answers.config_path, draft_text(answers))
    answers.config_path.chmod(0o600)
    loaded = load_miner_config(answers.config_path)
    say(f"wrote {answers.config_path}" + (f"; the file of before is {kept}" if kept else ""))
    for warning in loaded.warnings:
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
    if not await is_serving(answers):
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
            while not await is_serving(answers):
                if process is not None and process.poll() is not None:
                    raise ServiceFailed(
                        f"the engine ended with status {process.returncode}: {_last_words(answers)}",
                        hint=f"see {answers.data_dir / LOG_NAME}",
                    )
                await asyncio.sleep(0.3)
    except TimeoutError:
        raise ServiceFailed(f"the engine does not answer within {within_s:.0f} s: {_last_words(answers)}") from None
    return f"the engine serves on port {answers.port}; look at it with: basilica-tui --config {answers.config_path}"


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


async def is_serving(answers: Answers) -> bool:
    """Whether the engine of this name answers, as a miner, and its door accepts."""
    try:
        client = await ControlClient.connect(socket_to_call(answers.name), role="read-only", timeout_s=2.0)
    except BasilicaError:
        return False
    try:
        snapshot = await client.snapshot()
    except BasilicaError:
        return False
    finally:
        await client.close()
    return snapshot.engine.role == "miner" and await _accepts(answers.port)


async def _accepts(port: int) -> bool:
    try:
        async with asyncio.timeout(2.0):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _choice(answers: Answers) -> ServiceChoice:
    needs = needs_of(draft_config(answers), answers.config_path, working_directory=answers.base)
    kind = service_of(answers)
    for_user = kind == "user"
    units = user_units(Path.home()) if for_user else Path(os.environ.get("BASILICA_UNIT_DIR") or SYSTEM_UNITS)
    return ServiceChoice(needs, for_user, units, "" if for_user else owner_of(needs.hotkey) or "root")


def _last_words(answers: Answers) -> str:
    try:
        lines = (answers.data_dir / LOG_NAME).read_text("utf-8", "replace").splitlines()
    except OSError:
        return "nothing was logged"
    return " | ".join(line[-300:] for line in lines[-2:]) or "nothing was logged"
