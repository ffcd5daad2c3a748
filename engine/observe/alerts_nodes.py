"""Alert rules about nodes: pure judgements, one reading per node."""

from __future__ import annotations

from collections.abc import Iterator

from engine.observe.alerts_book import Reading, Trouble
from engine.observe.alerts_facts import DISK_MARGIN, GB, MIN_COUNT, RATE_MARGIN, Facts, name_of

SKEW_MARGIN_S = 5.0
DRIFT_SHOWN_S = 86_400.0


def ssh_success(facts: Facts) -> Iterator[Reading]:
    """Too many logins failed within the fleet's window."""
    limit = facts.limits.ssh_success_min
    for node in facts.state.nodes.values():
        percent = node.ssh_success_percent
        if percent is None or len(node.recent_checks) < MIN_COUNT:
            yield Reading("ssh_success", node.id, is_known=False)
            continue
        is_low = facts.falls_below(("ssh_success", node.id), percent, limit, min(limit + RATE_MARGIN, 100.0))
        yield Reading(
            "ssh_success",
            node.id,
            Trouble(
                "warning",
                f"{name_of(node)}: {percent:.0f} % of the SSH logins succeeded, below {limit:g} %",
                "a validator that cannot log in scores the node as failed and may reset its ramp",
                node.hint or "test the node: the SSH check names the step that fails",
            )
            if is_low
            else None,
        )


def node_failing(facts: Facts) -> Iterator[Reading]:
    """A node is unhealthy."""
    for node in facts.state.nodes.values():
        if node.state == "unhealthy":
            yield Reading(
                "node_failing",
                node.id,
                Trouble(
                    "error",
                    f"{name_of(node)} fails its checks: {node.reason or node.last_trouble or 'no reason known'}",
                    "the node is not offered, earns nothing, and its ramp starts again at the next full validation",
                    node.hint or "test the node, or take it out of the configuration",
                ),
            )
        else:
            yield Reading("node_failing", node.id, is_known=node.state in ("healthy", "stopped"))


def host_key(facts: Facts) -> Iterator[Reading]:
    """A node shows another host key than the pinned one."""
    for node in facts.state.nodes.values():
        is_changed = node.state == "stopped" or bool(node.host_key_presented)
        pinned, presented = node.host_key_fingerprint, node.host_key_presented
        yield Reading(
            "host_key_changed",
            node.id,
            Trouble(
                "error",
                f"{name_of(node)} shows another host key: {presented or 'unknown'} instead of {pinned or 'unknown'}",
                "nothing is sent to this node: it may be another machine; its keys cannot be changed either",
                "compare both fingerprints with the node's own, then accept the new key or repair the node",
            )
            if is_changed
            else None,
        )


def clock_skew(facts: Facts) -> Iterator[Reading]:
    """A node's clock differs from ours."""
    limit = facts.limits.clock_skew_max
    for node in facts.state.nodes.values():
        skew_s = node.clock_skew_s
        if skew_s is None:
            yield Reading("clock_skew", node.id, is_known=False)
            continue
        margin = SKEW_MARGIN_S if ("clock_skew", node.id) in facts.active else 0.0
        is_off = abs(skew_s) > max(limit - margin, 0.0)
        direction = "ahead of" if skew_s > 0 else "behind"
        yield Reading(
            "clock_skew",
            node.id,
            Trouble(
                "warning",
                f"{name_of(node)}: its clock is {abs(skew_s):.0f} s {direction} this host's",
                "keys there end too early or too late by as much; validators refuse large differences",
                "run on both: timedatectl set-ntp true",
            )
            if is_off
            else None,
        )


def node_disk(facts: Facts) -> Iterator[Reading]:
    """A node has too little free space."""
    limit = facts.limits.node_disk_min_gb * GB
    for node in facts.state.nodes.values():
        free = node.disk_free_bytes
        if free is None:
            yield Reading("node_disk", node.id, is_known=False)
            continue
        is_low = facts.falls_below(("node_disk", node.id), free, limit, limit * DISK_MARGIN)
        yield Reading(
            "node_disk",
            node.id,
            Trouble(
                "warning",
                f"{name_of(node)}: {free / GB:.0f} GB free, below {facts.limits.node_disk_min_gb:g} GB",
                "validators want about 1 TB for rentals and may score the node as failed",
                "free space there: docker system prune, old images and data sets first",
            )
            if is_low
            else None,
        )


def key_stuck(facts: Facts) -> Iterator[Reading]:
    """A key that must go is still on a node."""
    for node_id, count in facts.stuck_keys.items():
        node = facts.state.nodes.get(node_id)
        what = "1 key" if count == 1 else f"{count} keys"
        yield Reading(
            "key_stuck",
            node_id,
            Trouble(
                "error",
                f"{what} could not be removed from {node_id if node is None else name_of(node)} in time",
                "the node's own expiry closes the key where its sshd knows expiry-time; the line is still there",
                (node.hint if node is not None else "") or "make the node reachable; removal is tried again for ever",
            )
            if count
            else None,
        )


def hardware(facts: Facts) -> Iterator[Reading]:
    """Driver, CUDA or GPUs of a node are not what they were; until a person acknowledges, or a day passes."""
    for node in facts.state.nodes.values():
        key = ("hardware_changed", node.id)
        if node.last_drift_at is None:
            # After a restart only the alert itself remembers.
            began_at = facts.active.get(key, float("-inf"))
            is_over = facts.now - began_at >= DRIFT_SHOWN_S or facts.is_acknowledged(key, began_at)
            yield Reading(*key, is_known=is_over)
            continue
        is_new = facts.now - node.last_drift_at < DRIFT_SHOWN_S and not facts.is_acknowledged(key, node.last_drift_at)
        yield Reading(
            *key,
            Trouble(
                "warning",
                f"{name_of(node)}: {node.last_drift}",
                "validators compare with what they saw before: fewer or other GPUs change the score",
                "if this was not planned, look at the node: a lost GPU or a half-done driver update",
            )
            if is_new
            else None,
        )


def shared_gpu(facts: Facts) -> Iterator[Reading]:
    """A node shows a GPU that another node shows too."""
    for node in facts.state.nodes.values():
        count = len(node.shared_gpus)
        yield Reading(
            "shared_gpu",
            node.id,
            Trouble(
                "error",
                f"{name_of(node)}: {count} of its GPUs are shown by another node as well",
                "validators give a GPU to one owner only; the other node fails",
                "take one of the entries out, or find the copied image or the proxy",
            )
            if count
            else None,
        )


def foreign_keys(facts: Facts) -> Iterator[Reading]:
    """A node's key file holds lines that are neither the operator's baseline nor ours."""
    for node in facts.state.nodes.values():
        yield Reading(
            "key_drift",
            node.id,
            Trouble(
                "warning",
                f"{name_of(node)}: {node.drift} key lines there are neither yours nor a grant's",
                "whoever holds those keys may enter the node, also after their access here ended",
                "look at the node's keys: accept the lines as yours, or have them removed",
            )
            if node.drift
            else None,
        )
