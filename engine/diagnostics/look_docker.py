"""Containers on this host in which the deployed miner runs, or would run again: by Docker's own word."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from engine.diagnostics.container_facts import Container
from engine.lifecycle.imports.container import published

PROGRAMS = frozenset({"basilica-miner", "basilca-miner"})
"""The network spells its own name in two ways."""
_OWN = frozenset({"basilica-tui", "basilica_tui"})
_ASK_S = 5.0
_MOST = 400
_MOST_BYTES = 16 << 20
_LABEL = "com.docker.compose."


def look_at_containers(wanted: Callable[[Mapping[str, Any]], bool]) -> tuple[Container, ...]:
    """Those of which ``docker container inspect`` says what is wanted; none where Docker is not here, does not answer,
    or not to this user."""
    ids = _ask("docker", "container", "ls", "--all", "--quiet", "--no-trunc").decode().split()[:_MOST]
    if not ids:
        return ()
    try:
        found = json.loads(_ask("docker", "container", "inspect", "--", *ids) or b"[]")
    except ValueError:
        return ()
    return tuple(_container(one) for one in found if isinstance(one, dict) and wanted(one))


def is_old_miner(found: Mapping[str, Any]) -> bool:
    """One element of ``docker container inspect``: its program has the name, or its image is the network's miner."""
    words = [str(found.get("Path", "")), *(str(one) for one in found.get("Args") or ())]
    if any(PurePosixPath(word).name.lower() in PROGRAMS for word in words):
        return True
    image = str(_part(found, "Config").get("Image", "")).lower()
    own = "basilica-tui" in image or any("basilica" in word and "tui" in word for word in words)
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return not own and ("basilica" in image or "basilca" in image) and name.endswith("miner")


def is_own(found: Mapping[str, Any], config: Path) -> bool:
    """Whether it is our own engine with that configuration; paths are the same inside as outside."""
    words = [str(found.get("Path", "")), *(str(one) for one in found.get("Args") or ())]
    image = str(_part(found, "Config").get("Image", "")).lower()
    is_engine = "basilica-tui" in image or any(PurePosixPath(word).name in _OWN for word in words)
    return is_engine and "--daemon" in words and str(config) in words


def starts_again(policy: str, *, runs: bool, exit_code: int) -> bool:
    """Whether Docker starts it with the next boot. One that was stopped by hand stays so only under unless-stopped.

    ``on-failure`` looks at the status alone: a program that SIGTERM ended has failed.
    """
    if policy == "always":
        return True
    return (runs and policy == "unless-stopped") or (policy.startswith("on-failure") and (runs or exit_code != 0))


def _container(found: Mapping[str, Any]) -> Container:
    state, host = _part(found, "State"), _part(found, "HostConfig")
    restart = host.get("RestartPolicy") or {}
    policy, tries = str(restart.get("Name") or "no"), restart.get("MaximumRetryCount")
    if policy == "on-failure" and tries:
        policy = f"on-failure:{int(tries)}"
    runs = bool(state.get("Running") or state.get("Restarting"))
    code = state.get("ExitCode")
    name = str(found.get("Name", "")).lstrip("/") or str(found.get("Id", ""))
    labels = _part(found, "Config").get("Labels") or {}
    return Container(
        id=str(found.get("Id", "")),
        name=name,
        runs=runs,
        restart=policy,
        starts_again=starts_again(policy, runs=runs, exit_code=code if isinstance(code, int) else 0),
        is_removed=bool(host.get("AutoRemove")),
        ports=tuple(outside for outside, _ in published(host.get("PortBindings") or {})),
        control=_control(name, {str(key): str(value) for key, value in labels.items()}),
    )


def _control(name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    """The command line that ``stop`` and ``start`` are put behind: compose's where its files are still there.

    The name of what is stopped comes last.
    """
    project, service = labels.get(f"{_LABEL}project", ""), labels.get(f"{_LABEL}service", "")
    folder = Path(labels.get(f"{_LABEL}project.working_dir", ""))
    files = [folder / one for one in labels.get(f"{_LABEL}project.config_files", "").split(",") if one]
    program = _compose_program() if project and service and files and all(map(Path.is_file, files)) else ()
    if not program:
        return ("docker", name)
    where = [word for file in files for word in ("--file", str(file))]
    return (*program, "--project-directory", str(folder), *where, "--project-name", project, service)


def _compose_program() -> tuple[str, ...]:
    for words in (("docker", "compose"), ("docker-compose",)):
        if _ask(*words, "version"):
            return words
    return ()


def _part(found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = found.get(key)
    return part if isinstance(part, dict) else {}


def _ask(*words: str) -> bytes:
    try:
        done = subprocess.run(words, capture_output=True, timeout=_ASK_S, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout[:_MOST_BYTES] if done.returncode == 0 else b""
