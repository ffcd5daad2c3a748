"""Looking at one node, and from one node at another: every wait is bounded, nothing is changed."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass, replace

from engine.diagnostics.node_facts import NodeFacts, NodeLimits, PeerView
from engine.errors import BasilicaError, SshFailure
from engine.probes.account import AccountFacts, probe_account
from engine.probes.administered import AdminFacts, admin_script, parse_admin
from engine.probes.container import probe_container
from engine.probes.host import HostFacts, probe_host
from engine.probes.way import WayFacts, probe_way
from engine.ssh.admin import AdminLogin
from engine.ssh.banner import read_banner
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

NODE_S = 90.0
"""The whole visit, whatever happens."""
USUAL_PORTS = (22, 2222, 22222, 2022, 222)
"""Where sshd listens when it does not listen where it was said to."""
_BANNER_S = 3.0
_CALL = (
    "h={host} p={port}; t=; command -v timeout >/dev/null 2>&1 && t='timeout 6'; "
    "if command -v bash >/dev/null 2>&1; then "
    'o=$($t bash -c "exec 3<>/dev/tcp/$h/$p" 2>&1); s=$?; '
    "elif command -v nc >/dev/null 2>&1; then o=$($t nc -z -w 5 $h $p 2>&1); s=$?; "
    "else echo basilica-call none; exit 0; fi; "
    'case "$s $o" in "0 "*) echo basilica-call open;; *efused*) echo basilica-call refused;; '
    "*) echo basilica-call timeout;; esac"
)


@dataclass(frozen=True, slots=True)
class Visit:
    """How to look: who administers the nodes, and whether a container may be started."""

    admin: AdminLogin | None = None
    with_container: bool = True


async def look_at_node(pool: NodePool, target: NodeTarget, limits: NodeLimits, visit: Visit) -> NodeFacts:
    """Everything about one node; never raises for what a node or a network does."""
    try:
        async with asyncio.timeout(NODE_S):
            return await _visit(pool, target, limits, visit)
    except TimeoutError:
        way = await _way_only(pool, target)
        return NodeFacts(target, way.way, limits, pool.own_blobs, trouble=f"the visit took longer than {NODE_S:g} s")


async def _way_only(pool: NodePool, target: NodeTarget) -> NodeFacts:
    return NodeFacts(target, await probe_way(pool, target))


async def _visit(pool: NodePool, target: NodeTarget, limits: NodeLimits, visit: Visit) -> NodeFacts:
    way = await probe_way(pool, target)
    admin: AdminFacts | None = None
    trouble, admin_trouble = "", ""
    account: AccountFacts | None = None
    host: HostFacts | None = None
    container = None
    if visit.admin is not None and way.stop in ("", "auth", "login"):
        try:
            admin = parse_admin(await visit.admin.run_as_root(target, admin_script(target.username)))
        except BasilicaError as error:
            admin_trouble = f"the administrator's look failed: {error.message}"
    if way.stop == "":
        try:
            account = await probe_account(pool, target)
            if account.uid is not None:
                host = await probe_host(pool, target)
                if visit.with_container and host.nvidia_runtime_ok:
                    container = await probe_container(pool, target)
        except SshFailure as error:
            trouble = error.message
    return NodeFacts(
        target,
        way,
        limits,
        pool.own_blobs,
        account,
        host,
        container,
        admin,
        admin_trouble,
        trouble=trouble,
        other_port=await _other_port(target, way),
    )


async def _other_port(target: NodeTarget, way: WayFacts) -> int | None:
    """Only where something at the address answers, and it is no SSH server: each port is asked for its banner once."""
    if (way.stop, way.detail) not in (("tcp", "refused"), ("banner", "other")):
        return None
    ports = [port for port in USUAL_PORTS if port != target.port]
    heard = await asyncio.gather(*(read_banner(replace(target, port=one), timeout_s=_BANNER_S) for one in ports))
    return next((port for port, said in zip(ports, heard, strict=True) if said.kind == "ssh"), None)


async def call_from(pool: NodePool, peer: NodeTarget, address: str, port: int) -> PeerView:
    """Whether ``peer`` gets a TCP connection to ``address:port``. The address is one that was resolved here."""
    command = _CALL.format(host=shlex.quote(address), port=int(port))
    try:
        result = await pool.run(peer, f"sh -c {shlex.quote(command)}", timeout_s=15.0, max_output_bytes=4096)
    except SshFailure as error:
        return PeerView(peer.label, error.message)
    text = result.stdout.decode("utf-8", "replace")
    for outcome in ("open", "refused", "timeout"):
        if f"basilica-call {outcome}" in text:
            return PeerView(peer.label, outcome)
    return PeerView(peer.label, "it has neither bash nor nc")
