"""Alert rules about this host and this engine: disk, wallet, certificate, services, telling, audit."""

from __future__ import annotations

from collections.abc import Iterator

from engine.observe.alerts_book import Reading, Trouble
from engine.observe.alerts_facts import DISK_MARGIN, GB, Facts


def host_disk(facts: Facts) -> Iterator[Reading]:
    """The databases' file system is nearly full."""
    free, limit = facts.host.disk_free_bytes, facts.limits.host_disk_min_gb * GB
    if free is None:
        yield Reading("host_disk", "", is_known=False)
        return
    is_low = facts.falls_below(("host_disk", ""), free, limit, limit * DISK_MARGIN)
    yield Reading(
        "host_disk",
        "",
        Trouble(
            "error",
            f"{free / GB:.1f} GB free in {facts.host.disk_path}, below {facts.limits.host_disk_min_gb:g} GB",
            "without space no grant can be written, so validators are refused",
            f"free space on the file system of {facts.host.disk_path}",
        )
        if is_low
        else None,
    )


def wallet(facts: Facts) -> Iterator[Reading]:
    """The hotkey file is not as it was."""
    problem = facts.host.wallet_problem
    yield Reading(
        "wallet",
        "",
        Trouble(
            "error",
            problem,
            "the engine goes on with the hotkey in memory, and the next start may fail",
            "put the hotkey file back as it was, mode 600, owned by the engine's user",
        )
        if problem
        else None,
    )


def certificate(facts: Facts) -> Iterator[Reading]:
    """The door's certificate is unusable or about to end."""
    problem, left_s = facts.host.certificate_problem, facts.host.certificate_ends_in_s
    if not problem and left_s is not None and left_s < facts.limits.certificate_expiry:
        days = left_s / 86_400
        problem = "the TLS certificate is over" if left_s <= 0 else f"the TLS certificate ends in {days:.1f} days"
    yield Reading(
        "certificate",
        "",
        Trouble(
            "error" if left_s is None or left_s <= 0 else "warning",
            problem,
            "validators that check the certificate cannot connect",
            "renew it, then restart the engine",
        )
        if problem
        else None,
    )


def service(facts: Facts) -> Iterator[Reading]:
    """A service crashes again and again."""
    for service in facts.state.services.values():
        count = facts.crashes.get(service.id, 0)
        is_active = ("service_restarting", service.id) in facts.active
        is_bad = count > 0 if is_active else count >= facts.limits.restarts_max
        yield Reading(
            "service_restarting",
            service.id,
            Trouble(
                "error",
                f"service {service.id} crashed {count} times in {facts.limits.restarts_window / 60:.0f} min: "
                f"{service.last_error}",
                "what it does is not done while it restarts",
                "the log has the whole error; an address that is taken needs another port",
            )
            if is_bad
            else None,
        )


def delivery(facts: Facts) -> Iterator[Reading]:
    """A way of telling does not work."""
    for target, error in facts.failed_targets.items():
        yield Reading(
            "delivery_failed",
            target,
            Trouble(
                "warning",
                f"alerts cannot be delivered to {target}: {error}",
                "trouble is shown here, and nobody is told",
                "check [alerts], then send a test",
            )
            if error
            else None,
        )


def audit(facts: Facts) -> Iterator[Reading]:
    """The audit chain does not fit what an earlier run left."""
    problem = facts.state.engine.audit_error
    yield Reading(
        "audit_broken",
        "",
        Trouble(
            "error",
            f"the audit log is not what the last run left: {problem}",
            "somebody changed the database, or it was restored from a backup",
            "run: basilica-tui audit verify, and keep a copy of the database file",
        )
        if problem
        else None,
    )


def recording(facts: Facts) -> Iterator[Reading]:
    """What happens is not written down."""
    problem = facts.state.engine.recording_error
    yield Reading(
        "recording_paused",
        "",
        Trouble(
            "warning",
            f"nothing is recorded: {problem}",
            "what happens now cannot be replayed later; the engine itself goes on",
            "free some space there, or give [recording] another directory",
        )
        if problem
        else None,
    )
