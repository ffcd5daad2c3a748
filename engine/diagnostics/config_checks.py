"""Checks of the configuration file: everything that validation knows, and what only makes sense across keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.config import MinerConfig, ValidatorConfig
from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, skip, warn

VISIT_INTERVAL_S = 600.0
"""Validators come back about this often (the miner guide, 3)."""


@dataclass(frozen=True)
class ConfigFacts:
    """The file as it was found."""

    config: MinerConfig | ValidatorConfig | None = None
    path: str = ""
    exists: bool = True
    is_readable: bool = True
    mode: int | None = None
    has_secrets: bool = False
    read_error: str = ""
    problems: tuple[tuple[str, str], ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    backups: tuple[str, ...] = ()
    """Copies beside the file that can be loaded, newest first."""


_OWN_CHECKS = (
    "security.verify_signatures",
    "validator_assignment.enabled",
    "node_management.health_check_interval",
    "node_management.nodes",
)
_PORTS_DIFFER = "but validator_comms.port is"
_ELSEWHERE = ("ssh_session.miner_node_key_path", "bittensor.netuid")


def judge_file(facts: ConfigFacts) -> Judgement:
    """Is there a file that can be read as TOML."""
    if not facts.path:
        return ok("values in memory, no file")
    if not facts.exists:
        return fail("missing", f"{facts.path} does not exist", backup=_first(facts.backups))
    if not facts.is_readable:
        return fail("unreadable", f"{facts.path} cannot be read by this user")
    if facts.read_error:
        return fail("syntax", facts.read_error, backup=_first(facts.backups))
    if facts.mode is not None and facts.mode & 0o007 and facts.has_secrets:
        return warn(
            "open_to_others", f"{facts.path} has mode {facts.mode:04o} and holds secrets of [alerts] or [database]"
        )
    return ok(facts.path)


def judge_values(facts: ConfigFacts) -> Judgement:
    """Does the engine accept the values."""
    problems = [text for key, text in facts.problems if key not in _ELSEWHERE and _PORTS_DIFFER not in text]
    if problems:
        return fail("invalid", *problems[:20])
    if facts.config is None:
        return skip("there is no configuration to check")
    return ok("every value is accepted")


def judge_warnings(facts: ConfigFacts) -> Judgement:
    """What the loader only grumbles about."""
    texts = [text for key, text in facts.warnings if key not in (*_OWN_CHECKS, *_ELSEWHERE)]
    unknown = [text for text in texts if "is not known and has no effect" in text]
    if unknown:
        return warn("unknown_keys", *unknown[:20])
    if texts:
        return warn("doubtful", *texts[:20])
    return ok("nothing doubtful")


def judge_signatures(facts: ConfigFacts) -> Judgement:
    """Signatures off means that anybody is a validator."""
    if not isinstance(facts.config, MinerConfig):
        return skip("a validator's configuration has no such key")
    if facts.config.security.verify_signatures:
        return ok("signatures are verified")
    return fail("off", "security.verify_signatures is false")


def judge_open_access(facts: ConfigFacts) -> Judgement:
    """Open access on a network where it matters."""
    config = facts.config
    if not isinstance(config, MinerConfig):
        return skip("a validator's configuration has no such key")
    if config.validator_assignment.enabled:
        return ok(f"access by {config.validator_assignment.strategy}")
    said = f"validator_assignment.enabled is false on network {config.bittensor.network}"
    return warn("open", said)


def judge_intervals(facts: ConfigFacts) -> Judgement:
    """Times that work against each other."""
    config = facts.config
    if not isinstance(config, MinerConfig):
        return skip("only a miner has these intervals")
    health, lifetime = config.node_management.health_check_interval, config.access.session_lifetime
    if lifetime < VISIT_INTERVAL_S and not config.engine.compressed_time:
        return warn(
            "short_session", f"access.session_lifetime is {lifetime:g} s; validators come every {VISIT_INTERVAL_S:g} s"
        )
    if health < 30 and not config.engine.compressed_time:
        return warn("hasty_checks", f"node_management.health_check_interval is {health:g} s; 60 is usual")
    if health > 900:
        return warn(
            "rare_checks", f"node_management.health_check_interval is {health:g} s; validators see trouble first"
        )
    return ok(f"health every {health:g} s, sessions of {lifetime:g} s")


def judge_network(facts: ConfigFacts) -> Judgement:
    """The subnet belongs to the network."""
    config = facts.config
    if config is None:
        return skip("there is no configuration to check")
    wrong = [text for key, text in facts.warnings if key == "bittensor.netuid"]
    if wrong:
        return fail("other_subnet", *wrong, netuid={"finney": "39", "test": "387"}[config.bittensor.network])
    return ok(f"{config.bittensor.network}, subnet {config.bittensor.netuid}")


def judge_ports(facts: ConfigFacts) -> Judgement:
    """The published port is the one that is bound, unless something forwards it."""
    config = facts.config
    if not isinstance(config, MinerConfig):
        return skip("only a miner publishes an axon")
    published, bound = config.bittensor.axon_port, config.validator_comms.port
    differ = [text for _, text in facts.problems if _PORTS_DIFFER in text]
    if differ:
        return fail("differ", *differ, port=str(bound))
    if config.validator_comms.host in {"127.0.0.1", "::1", "localhost"} and config.bittensor.network != "local":
        return fail("loopback", f"validator_comms.host is {config.validator_comms.host}: nobody outside reaches it")
    return ok(f"port {bound} is bound, {published} is published")


def judge_nodes(facts: ConfigFacts) -> Judgement:
    """A miner without nodes earns nothing."""
    config = facts.config
    if not isinstance(config, MinerConfig):
        return skip("only a miner has nodes")
    count = len(config.node_management.nodes)
    return ok(f"{count} nodes") if count else warn("none", "node_management.nodes is empty")


def _first(names: tuple[str, ...]) -> str:
    return names[0] if names else ""


def _check(
    name: str, title: str, meaning: str, judge: Callable[[ConfigFacts], Judgement], *causes: Cause
) -> Check[ConfigFacts]:
    needs = () if name == "file" else ("config.file",)
    return Check(f"config.{name}", Scope.CONFIG, title, meaning, judge, causes, needs)


CHECKS: tuple[Check[ConfigFacts], ...] = (
    _check(
        "file",
        "The configuration can be read",
        "without it the engine does not start",
        judge_file,
        Cause("missing", "there is no file of that name", ("config.restore",), advice="run basilica-tui setup"),
        Cause("unreadable", "its mode or owner keeps this user out", ("config.chmod",)),
        Cause("syntax", "it is not valid TOML", ("config.restore",), advice="correct the line that the message names"),
        Cause("open_to_others", "other users can read the secrets in it", ("config.chmod",)),
    ),
    _check(
        "values",
        "The engine accepts every value",
        "it refuses to start with these",
        judge_values,
        Cause(
            "invalid", "a value cannot be used", advice="correct what the evidence names; config validate checks again"
        ),
    ),
    _check(
        "warnings",
        "Nothing in it is doubtful",
        "what has no effect is not what was meant",
        judge_warnings,
        Cause("unknown_keys", "a key is misspelt, or of a program that this is not", ("config.remove_keys",)),
        Cause("doubtful", "a value works and is unusual", advice="read the sentence and decide"),
    ),
    _check(
        "network",
        "Subnet and network belong together",
        "on another subnet nobody knows this miner",
        judge_network,
        Cause("other_subnet", "netuid and network name different subnets", ("config.netuid",)),
    ),
    _check(
        "ports",
        "The published port is served",
        "validators dial what is published",
        judge_ports,
        Cause(
            "differ",
            "axon_port and validator_comms.port differ, and no address says that something forwards",
            ("config.axon_port",),
        ),
        Cause("loopback", "the door listens on loopback only", ("config.listen_everywhere",)),
    ),
    _check(
        "nodes",
        "There are nodes",
        "a miner without nodes earns nothing",
        judge_nodes,
        Cause(
            "none",
            "no node is configured",
            advice="add nodes: basilica-tui setup, or the console's configuration screen",
        ),
    ),
    _check(
        "signatures",
        "Signatures are verified",
        "without it anybody who connects is taken for a validator",
        judge_signatures,
        Cause("off", "verification is switched off, as for a test", ("config.verify_signatures",)),
    ),
    _check(
        "open_access",
        "Access is assigned",
        "with open access every permitted validator gets keys on every node",
        judge_open_access,
        Cause("open", "assignment is switched off", ("config.assign",)),
    ),
    _check(
        "intervals",
        "Intervals fit together",
        "keys that end between two visits cut validators off",
        judge_intervals,
        Cause("short_session", "sessions end before the validator comes back", ("config.intervals",)),
        Cause("hasty_checks", "nodes are checked more often than they change", ("config.intervals",)),
        Cause("rare_checks", "nodes are checked so rarely that validators notice first", ("config.intervals",)),
    ),
)
