"""What a miner's answer carries beside an address: a certificate for our key, and one for the node's host key."""

from __future__ import annotations

import structlog

from engine.errors import CertificateRefused
from engine.ssh.certificates import read_guest_certificate, read_host_certificate
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.validator.miner_nodes import OfferedNode

log = structlog.get_logger()


async def use_papers(pool: NodePool, target: NodeTarget, node: OfferedNode, host_authority: str, now: float) -> None:
    """Log in on this node as the miner's answer says; papers that are not in order are left aside.

    ``host_authority`` is the OpenSSH line that the miner's hotkey has signed for, or empty. A host key that it vouches
    for is the only one accepted there until the next answer. Raises HostKeysUnusable.
    """
    certificate = None
    if node.certificate:
        try:
            certificate = read_guest_certificate(node.certificate, pool.key)
        except CertificateRefused as error:
            log.warning("papers.refused", node_id=node.node_id, address=target.address, reason=error.message)
    pool.present(target, certificate)
    pool.host_keys.disclaim(target)
    if host_authority and node.host_certificate:
        try:
            vouched = read_host_certificate(node.host_certificate, host_authority, node.host, now)
        except CertificateRefused as error:
            log.warning("papers.refused", node_id=node.node_id, address=target.address, reason=error.message)
        else:
            await pool.host_keys.vouch(target, vouched)
