"""What a deployed miner's set-up means here: what is kept, what means something else, what goes, what is to be done.

The rule for keys whose meaning changed: the new engine shall at first do what the old miner did. A key that the old
one ignored and that acts here is therefore not carried over, but named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from engine.config import Loaded, MinerConfig, load_miner_config
from engine.config.masking import mask_value
from engine.config.retired import IDLE, OLDER
from engine.config.shape import leaves, stray_keys
from engine.config.show import text_of
from engine.errors import ImportFailed
from engine.lifecycle.imports.deployment import Deployment
from engine.lifecycle.imports.era import Era, detect_era
from engine.lifecycle.imports.nodes import ImportedNode, import_nodes

Kind = Literal["kept", "set", "means something else", "dropped", "to do"]
KINDS: tuple[Kind, ...] = ("set", "means something else", "dropped", "to do", "kept")
DEPLOYED_AXON_PORT = 8091
DEPLOYED_BOUND_PORT = 50051
_NEW_DATABASE = "engine.db"
_IGNORED = "the deployed miner has ignored this since October 2025; here it would act"
_ASSIGNMENT = {
    "validator_assignment.enabled": f"{_IGNORED}: false lets every permitted validator in",
    "validator_assignment.min_stake_threshold": f"{_IGNORED}: validators with less stake would get nothing",
    "validator_assignment.validator_hotkey": f"{_IGNORED} under highest_stake: this validator would be preferred",
}
_ACTS_NOW = {
    "node_management.health_check_interval": "was never acted upon; every node is checked at this interval now",
    "node_management.health_check_timeout": "was never acted upon; a check that takes longer has failed now",
    "advertised_addresses.grpc_endpoint": "was never read; here it says that a router forwards the published port",
    "advertised_addresses.axon_endpoint": "was never read; here it says that a router forwards the published port",
    "security.verify_signatures": "discovery calls are verified too, which no deployed miner did",
    "validator_assignment.strategy": "round_robin is gone and is read as highest_stake",
}
_UNUSED = ("node_management.max_retry_attempts", "node_management.auto_recovery", "ssh_session.default_node_username")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``new`` is empty for what is not carried over."""

    kind: Kind
    key: str
    old: str
    new: str
    why: str = ""


@dataclass
class ImportPlan:
    """Everything that is written and told. ``values`` are dotted keys in the order of the file."""

    deployment: Deployment
    era: Era
    values: dict[str, object] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, tuple[object, str]] = field(default_factory=dict)
    """Keys that are written as comments: old value and why."""
    nodes: tuple[ImportedNode, ...] = ()
    rows: list[Row] = field(default_factory=list)

    def put(self, kind: Kind, key: str, value: object, *, old: object = None, why: str = "") -> None:
        """Write a value, and say so."""
        self.values[key] = value
        if why:
            self.comments[key] = why
        self.rows.append(Row(kind, key, _shown(key, old), _shown(key, value), why))

    def leave_out(self, key: str, old: object, why: str) -> None:
        """Do not carry a value over, and say why."""
        self.left_out[key] = (old, why)
        self.rows.append(Row("means something else", key, _shown(key, old), "", why))

    def say(self, kind: Kind, key: str, why: str, old: object = None) -> None:
        """A row without a value."""
        self.rows.append(Row(kind, key, _shown(key, old), "", why))


def plan_import(deployment: Deployment, *, target: Path, honour_assignment: bool = False) -> ImportPlan:
    """Work out the new configuration; reads the old file only.

    Raises:
        ConfigInvalid: the old file holds values that no miner could read.
        ImportFailed: it is this program's own file already, or ``target`` is the old file.
    """
    era = detect_era(deployment.data)
    if era.tag == "ours":
        raise ImportFailed(f"{deployment.config_path} is a file of this program already", hint="use it as it is")
    if target.expanduser().resolve() == deployment.config_path.resolve():
        raise ImportFailed(
            f"--to {target} is the old file itself", hint="name another file; the old one stays as it is"
        )
    loaded = load_miner_config(deployment.config_path, env=deployment.around.environment, check=False)
    plan = ImportPlan(deployment, era)
    _places(plan, loaded)
    _ports(plan, loaded)
    _rest(plan, loaded, honour_assignment=honour_assignment)
    plan.nodes = import_nodes(deployment.data, era, loaded.config)
    _strays(plan)
    _to_do(plan, loaded)
    return plan


def _places(plan: ImportPlan, loaded: Loaded[MinerConfig]) -> None:
    """Wallets, node key and database: where the old process had them, as absolute paths."""
    deployment, config = plan.deployment, loaded.config
    user = deployment.around.user
    _put_path(plan, "bittensor.wallet_path", "~/.bittensor/wallets", f"where {user or 'the miner'} has its wallets")
    ssh = deployment.data.get("ssh_session")
    named = ssh if isinstance(ssh, dict) else {}
    old_key = "miner_node_key_path"
    if old_key not in named and "miner_executor_key_path" in named:
        old_key = "miner_executor_key_path"
    text = str(named.get(old_key) or "~/.ssh/miner_node_key")
    if loaded.sources.get("ssh_session.miner_node_key_path") == "environment":
        text = str(config.ssh_session.miner_node_key_path)
    why = "the key of the executor hosts" if old_key == "miner_executor_key_path" else "the key that opens the nodes"
    _put_path(plan, "ssh_session.miner_node_key_path", text, why)
    if config.security.private_key_file is not None:
        section = deployment.data.get("security")
        raw = section.get("private_key_file") if isinstance(section, dict) else None
        _put_path(plan, "security.private_key_file", str(raw or config.security.private_key_file), "as before")
    _database(plan, loaded)


def _put_path(plan: ImportPlan, key: str, text: str, why: str) -> None:
    path = plan.deployment.locate(text)
    if path is None:
        plan.say("to do", key, f"{text} was inside the container only: copy it out, then set {key}", old=text)
        return
    plan.put("set" if str(path) != text else "kept", key, str(path), old=text, why=why)


def _database(plan: ImportPlan, loaded: Loaded[MinerConfig]) -> None:
    url = loaded.config.database.url
    scheme, _, rest = url.partition(":")
    name = rest.partition("?")[0].removeprefix("//")
    place = plan.deployment.locate(name) if scheme == "sqlite" and name and ":memory:" not in name else None
    if place is None:
        place = plan.deployment.locate("data/miner.db") or PurePosixPath(plan.deployment.config_path.parent / "data/x")
    why = "a new file: the deployed miner's holds nothing that is needed, and stays as it is"
    plan.put("set", "database.url", f"sqlite:{place.with_name(_NEW_DATABASE)}", old=url, why=why)


def _ports(plan: ImportPlan, loaded: Loaded[MinerConfig]) -> None:
    config, sources = loaded.config, loaded.sources
    has_axon = sources.get("bittensor.axon_port") != "default"
    has_bound = sources.get("validator_comms.port") != "default"
    old_axon = config.bittensor.axon_port if has_axon else DEPLOYED_AXON_PORT
    old_bound = config.validator_comms.port if has_bound else DEPLOYED_BOUND_PORT
    axon, bound = config.bittensor.axon_port, config.validator_comms.port
    if plan.era.has_door:
        same = "published on chain; validators call it"
        follows = f"was not set: the deployed default {old_axon} was published, but nothing listened there"
        plan.put(
            "kept" if has_axon else "set", "bittensor.axon_port", axon, old=old_axon, why=same if has_axon else follows
        )
        follows = f"was not set: {old_bound} was listened on, but {axon} published"
        kind: Kind = "kept" if has_bound or bound == old_bound else "set"
        plan.put(kind, "validator_comms.port", bound, old=old_bound, why="" if kind == "kept" else follows)
    else:
        called = "this miner called the validator; here validators call it, on this port: let it through"
        plan.put("means something else", "bittensor.axon_port", axon, old=old_axon, why=called)
        plan.put("set", "validator_comms.port", bound, why="listened on; the published port must lead here")
    _forwarded(plan, config, axon, bound)
    if sources.get("health.port") == "default" and config.health.port != type(config.health)().port:
        plan.put("set", "health.port", config.health.port, why="8091 is taken by the published port")


def _forwarded(plan: ImportPlan, config: MinerConfig, axon: int, bound: int) -> None:
    outside = {inside: out for out, inside in plan.deployment.around.ports}
    if outside.get(bound, bound) != bound:
        plan.say(
            "to do", "validator_comms.port", f"docker forwarded {outside[bound]} to {bound}: forward it, or change it"
        )
    advertised = config.advertised_addresses
    if axon == bound or advertised.grpc_endpoint or advertised.axon_endpoint:
        return
    ip = config.bittensor.external_ip
    why = f"the published port {axon} and the port listened on, {bound}, differ"
    if ip is None:
        words = f"{why}: make them equal, or, if a router forwards one to the other, set this to http://YOUR.IP:{axon}"
        plan.say("to do", "advertised_addresses.grpc_endpoint", words)
        return
    words = f"{why}: this says that a router forwards one to the other"
    plan.put("set", "advertised_addresses.grpc_endpoint", f"http://{ip}:{axon}", why=words)


def _rest(plan: ImportPlan, loaded: Loaded[MinerConfig], *, honour_assignment: bool) -> None:
    """Everything else that the old set-up says and that means something here."""
    strategy = loaded.config.validator_assignment.strategy
    for key, value in leaves(loaded.config):
        source = loaded.sources.get(key, "default")
        if source == "default" or key in plan.values or key.startswith(("node_management.nodes", "database.")):
            continue
        if key in _UNUSED or value is None or value == () or _is_told(plan, key):
            continue
        acted = plan.era.tag == "E0" or honour_assignment
        is_fixed = key == "validator_assignment.validator_hotkey" and strategy == "fixed_assignment"
        if key in _ASSIGNMENT and not acted and not is_fixed and not _is_harmless(key, value):
            plan.leave_out(key, value, _ASSIGNMENT[key])
            continue
        why = "set by the environment of the service" if source == "environment" else ""
        why = _meaning(plan, key, value) or why
        kind: Kind = "means something else" if _meaning(plan, key, value) else "kept"
        old = _raw(plan.deployment.data, key)
        plan.put(kind, key, _plain(value), old=value if old is None else old, why=why)
    if loaded.config.metrics.enabled and "--metrics" not in plan.deployment.around.arguments:
        words = "the deployed miner served metrics with --metrics only; here this key decides"
        where = f"{loaded.config.metrics.prometheus.host}:{loaded.config.metrics.prometheus.port}"
        plan.rows = [row for row in plan.rows if row.key != "metrics.enabled"]
        plan.rows.append(Row("means something else", "metrics.enabled", "true", f"true ({where})", words))


def _meaning(plan: ImportPlan, key: str, value: object) -> str:
    if key == "validator_assignment.strategy" and _raw(plan.deployment.data, key) != "round_robin":
        return ""
    if key == "security.verify_signatures" and value is True:
        return ""
    if key.startswith("logging.") and plan.era.tag != "E0":
        return "was ignored since October 2025; here it acts"
    return _ACTS_NOW.get(key, "")


def _is_harmless(key: str, value: object) -> bool:
    """Whether a value that was ignored changes nothing here either."""
    return (key.endswith(".enabled") and value is True) or (key.endswith("_threshold") and value == 0)


def _is_told(plan: ImportPlan, key: str) -> bool:
    return any(row.key == key for row in plan.rows)


def _strays(plan: ImportPlan) -> None:
    data = plan.deployment.data
    for stray in stray_keys(MinerConfig, data):
        if plan.era.tag == "E0" and stray.plain in ("executor_management", "remote_executor_deployment"):
            continue  # told with the nodes
        if stray.plain == "bidding":
            why = "prices went into the nodes; there is nobody to bid to here"
        elif stray.plain in OLDER["miner"]:
            why = "only other generations of the miner knew it"
        elif stray.plain in IDLE["miner"]:
            why = "means nothing to this engine"
        else:
            why = f"not known; did you mean {stray.suggestion}?" if stray.suggestion else "not known to any miner"
        old = _raw(data, stray.key)
        plan.say("dropped", stray.key, why, old="" if isinstance(old, dict | list) else old)
    for key in _UNUSED:
        old = _raw(data, key)
        if old is not None:
            plan.say("dropped", key, "was never acted upon, and is not here", old=old)
    section = data.get("database")
    for key in section if isinstance(section, dict) else ():
        if key != "url" and not _is_told(plan, f"database.{key}"):
            plan.say("dropped", f"database.{key}", "concerns the old database")


def _to_do(plan: ImportPlan, loaded: Loaded[MinerConfig]) -> None:
    around = plan.deployment.around
    how = {"systemd": "systemctl disable --now", "docker": "docker compose stop"}.get(around.kind, "stop")
    plan.say("to do", "before the first start", f"{how} the old miner: both would change the same key files")
    words = (
        "validator keys that it left on the nodes are listed at the first start; adopt_leftovers = true removes them"
    )
    plan.say("to do", "ssh_session.adopt_leftovers", words)
    if not plan.nodes:
        plan.say("to do", "node_management.nodes", "there are none: add the GPU hosts")
    if loaded.config.bittensor.external_ip is None:
        plan.say("to do", "bittensor.external_ip", "not set, as before: this host's own address is published")


def _raw(data: Mapping[str, Any], key: str) -> object:
    value: Any = data
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    found: object = value
    return found


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return list(value) if isinstance(value, tuple) else value


def _shown(key: str, value: object) -> str:
    return "" if value is None or value == "" else text_of(mask_value(key, value))
