"""A compose file for one engine: host networking, only the named files, read-only where the engine only reads."""

from __future__ import annotations

import json
from pathlib import Path

from engine.deployment.install import ServiceChoice, handed_over
from engine.deployment.steps import MakeDirectory, Plan, RunCommand, Step, WriteFile

IMAGE = "basilica-tui"


def compose_text(choice: ServiceChoice, *, version: str, owner: tuple[int, int]) -> str:
    """YAML whose values are JSON strings. ``owner``: uid and gid that own the wallet."""
    needs = choice.needs
    writable = [need.path for need in needs.writable]
    volumes = [(str(path), "rw") for path in dict.fromkeys(writable)]
    volumes += [
        (str(need.path), "ro")
        for need in needs.readable
        if not any(path in need.path.parents or path == need.path for path in writable)
    ]
    mounts = "\n".join(
        f"      - {{ type: bind, source: {_text(path)}, target: {_text(path)}, read_only: {_yes(mode == 'ro')}, "
        "bind: { create_host_path: false } }"
        for path, mode in volumes
    )
    return f"""\
# Written by basilica-tui service install --compose for {needs.config}.
# Paths are the same inside and outside, so that the configuration is read unchanged.
services:
  {_text(needs.name)}:
    image: {_text(f"{IMAGE}:{version}")}
    command: ["--daemon", "--config", {_text(str(needs.config))}]
    user: "{owner[0]}:{owner[1]}"
    working_dir: {_text(str(needs.working_directory))}
    network_mode: host  # the published axon is this host's address
    restart: always
    init: true
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    stop_grace_period: 30s
    healthcheck:  # as the image's own, of the engine that this configuration names
      test: ["CMD", "basilica-tui", "--config", {_text(str(needs.config))}, "show", "services"]
      interval: 30s
      timeout: 10s
      start_period: 60s
      retries: 3
    environment:
      RUNTIME_DIRECTORY: {_text(f"/run/basilica/{needs.name}")}
    tmpfs:
      - /tmp:mode=1777
      - {_text(f"/run/basilica/{needs.name}:mode=0700,uid={owner[0]},gid={owner[1]}")}
    volumes:
{mounts}
    logging:
      driver: local
      options: {{ max-size: "50m", max-file: "5" }}
"""


def plan_compose(choice: ServiceChoice, directory: Path, *, version: str, owner: tuple[int, int]) -> Plan:
    """Look whether Docker can run it, write the file and start it. The image is built from a checkout."""
    file = directory / "compose.yaml"
    build = f"docker build -f deploy/docker/Dockerfile -t {IMAGE}:{version} ."
    missing = [need.path for need in choice.needs.writable if not need.path.exists()]
    steps: list[Step] = _looks(f"{IMAGE}:{version}", build) if choice.start else []
    steps += [MakeDirectory(path, choice.run_as) for path in missing]
    steps += handed_over(choice)
    steps.append(WriteFile(file, compose_text(choice, version=version, owner=owner)))
    if choice.start:
        steps.append(RunCommand(("docker", "compose", "-f", str(file), "up", "--detach")))
    return Plan(
        f"run {choice.needs.config} with Docker compose",
        tuple(steps),
        (
            f"the image is built from a checkout of this project: {build}",
            f"console: docker compose -f {file} exec -it {choice.needs.name} basilica-tui",
        ),
    )


def _looks(image: str, build: str) -> list[Step]:
    """Before anything is written: whatever of Docker is missing stops the plan with what to do."""
    return [
        RunCommand(
            ("docker", "compose", "version"),
            hint="install Docker with its compose plugin (Debian: docker-compose; Docker's own packages: "
            "docker-compose-plugin), then repeat",
        ),
        RunCommand(
            ("docker", "info", "--format", "{{.ServerVersion}}"),
            hint="start Docker, or let this user call it (group docker), then repeat",
        ),
        RunCommand(("docker", "image", "inspect", "--format", "{{.Id}}", image), hint=f"build it: {build}"),
    ]


def _text(value: str) -> str:
    return json.dumps(value.replace("$", "$$"))  # compose replaces variables


def _yes(value: bool) -> str:
    return "true" if value else "false"
