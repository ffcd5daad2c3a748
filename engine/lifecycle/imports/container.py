"""What Docker says about the container that a deployed miner runs in: mounts, ports and variables as they are now.

More exact than a compose file, whose variables and overrides are resolved here already; works without one, too.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from engine.errors import ImportFailed
from engine.lifecycle.imports.compose import CONTAINER_HOME, Service
from engine.lifecycle.imports.deployment import Mount, normal

PREFIX = "docker:"
"""Before the name of a container, where a file could be named."""
_ASK_S = 10.0
_MOST_BYTES = 4 << 20


def ask_docker(name: str) -> Service:
    """The container of that name, running or not. Raises ImportFailed."""
    hint = "see docker ps --all; root and members of the group docker may ask it"
    try:
        done = subprocess.run(
            ("docker", "container", "inspect", "--", name),
            capture_output=True,
            timeout=_ASK_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImportFailed(f"Docker cannot be asked about {name}: {error}", hint=hint) from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ImportFailed(f"Docker knows no container {name}: {said[-1] if said else 'no reason given'}", hint=hint)
    try:
        return read_container(json.loads(done.stdout[:_MOST_BYTES])[0])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ImportFailed(f"Docker's answer about {name} cannot be understood", hint=hint) from error


def read_container(found: Mapping[str, Any]) -> Service:
    """One element of ``docker container inspect``. Raises LookupError, TypeError or ValueError for another shape."""
    config, host = found["Config"], found["HostConfig"]
    environment = dict(_pair(one) for one in config.get("Env") or ())
    mounts = [
        Mount(normal(PurePosixPath(one["Source"])), normal(PurePosixPath(one["Destination"])))
        for one in found.get("Mounts") or ()
        if str(one.get("Source", "")).startswith("/")
    ]
    return Service(
        str(found["Name"]).lstrip("/"),
        tuple(str(word) for word in found.get("Args") or ()),
        environment,
        tuple(mounts),
        tuple(published(host.get("PortBindings") or {})),
        PurePosixPath(config.get("WorkingDir") or CONTAINER_HOME),
    )


def published(bindings: Mapping[str, Sequence[Mapping[str, str]] | None]) -> list[tuple[int, int]]:
    """Ports outside and inside, TCP only."""
    found = []
    for inside, places in bindings.items():
        number, _, protocol = inside.partition("/")
        outside = [one.get("HostPort", "") for one in places or ()]
        found += [(int(one), int(number)) for one in outside if one.isdigit() and protocol in ("", "tcp")]
    return list(dict.fromkeys(found))


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value
