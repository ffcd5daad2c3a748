"""Fixes on this host: key and wallet files, the configuration, and services."""

from __future__ import annotations

import shlex
from pathlib import Path

from engine.diagnostics.fixes.common import (
    CannotFixError,
    Case,
    Fix,
    as_root,
    config_path,
    local_step,
    service_step,
    systemctl_step,
)
from engine.diagnostics.plan import (
    EditConfig,
    EngineAction,
    LocalCommand,
    MakeKey,
    RestoreFile,
    SetMode,
    Step,
    WriteFile,
)

PRIVATE = 0o600
UNIT = "basilica-tui@miner.service"
LASTING = {"ufw", "firewalld"}
"""Firewalls whose rules come back with the next boot by themselves."""


def _chmod(case: Case, path: str, mode: int = PRIVATE) -> Step:
    if not path:
        raise CannotFixError("the file's path is not known")
    return local_step(
        f"close {path} to other users", f"chmod {mode:03o} {path}", SetMode(Path(path), mode), "the mode of before"
    )


def _key_chmod(case: Case) -> tuple[Step, ...]:
    return (_chmod(case, case.data.get("path", "")),)


def _key_generate(case: Case) -> tuple[Step, ...]:
    path = Path(case.data.get("path", ""))
    command = f'ssh-keygen -t ed25519 -N "" -f {path}'
    return (local_step("make an SSH key for the miner's own logins", command, MakeKey(path), f"rm {path} {path}.pub"),)


def _config_chmod(case: Case) -> tuple[Step, ...]:
    return (_chmod(case, str(config_path(case)), 0o640 if case.result.cause == "open_to_others" else PRIVATE),)


def _restore(case: Case) -> tuple[Step, ...]:
    copy, path = case.data.get("backup", ""), config_path(case)
    if not copy:
        raise CannotFixError("there is no copy of the configuration that can be loaded")
    step = local_step(
        "take the newest copy that can be loaded",
        f"cp {copy} {path}",
        RestoreFile(path, Path(copy)),
        "the present file is kept as NAME.broken",
    )
    return (step,)


def _edit(case: Case, title: str, changes: dict[str, object]) -> tuple[Step, ...]:
    path = config_path(case)
    shown = "\n".join(
        f"{key} = {_toml(value)}" if value is not None else f"remove {key}" for key, value in changes.items()
    )
    return (local_step(title, f"edit {path}:\n{shown}", EditConfig(path, changes), "the file's backup is put back"),)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _netuid(case: Case) -> tuple[Step, ...]:
    return _edit(case, "name Basilica's subnet on this network", {"bittensor.netuid": int(case.data["netuid"])})


def _axon_port(case: Case) -> tuple[Step, ...]:
    return _edit(case, "publish the port that is bound", {"bittensor.axon_port": int(case.data["port"])})


def _listen(case: Case) -> tuple[Step, ...]:
    return _edit(case, "listen on every address", {"validator_comms.host": "0.0.0.0"})


def _verify(case: Case) -> tuple[Step, ...]:
    return _edit(case, "verify signatures", {"security.verify_signatures": True})


def _assign(case: Case) -> tuple[Step, ...]:
    return _edit(
        case,
        "assign the validator with the highest stake",
        {"validator_assignment.enabled": True, "validator_assignment.strategy": "highest_stake"},
    )


def _threshold(case: Case) -> tuple[Step, ...]:
    stake = float(case.data.get("stake", "0"))
    return _edit(
        case,
        "lower the threshold to what the best validator has",
        {"validator_assignment.min_stake_threshold": float(int(stake))},
    )


def _intervals(case: Case) -> tuple[Step, ...]:
    if case.result.cause == "short_session":
        return _edit(case, "let a session last an hour, as is usual", {"access.session_lifetime": 3600})
    return _edit(case, "check nodes every minute, as is usual", {"node_management.health_check_interval": 60})


def _wallet_name(case: Case) -> tuple[Step, ...]:
    key, only = case.data.get("key", ""), case.data.get("only", "")
    if not key or not only:
        raise CannotFixError("there is not exactly one wallet or hotkey to choose")
    return _edit(case, "name the only one that is there", {f"bittensor.{key}": only})


def _remove_keys(case: Case) -> tuple[Step, ...]:
    keys = [text.split(": ", 1)[-1].split(" ", 1)[0] for text in case.result.evidence]
    return _edit(case, "take out the keys that have no effect", dict.fromkeys(keys))


def _gpu_count(case: Case) -> tuple[Step, ...]:
    if case.node is None:
        raise CannotFixError("the finding is not about a node")
    count = case.result.evidence[0].split(" ", 1)[0]
    return _edit(
        case,
        "write down how many cards the node has",
        {f"node_management.nodes[{case.node.index}].gpu_count": int(count)},
    )


def _node_port(case: Case) -> tuple[Step, ...]:
    port = case.data.get("port", "")
    if case.node is None or not port:
        raise CannotFixError("no other port of the node answers as an SSH server")
    place = f"node_management.nodes[{case.node.index}]"
    return _edit(
        case,
        f"log in on port {port}, where an SSH server answers; the node keeps its id, and with it its ramp",
        {f"{place}.port": int(port), f"{place}.id": case.target.node_id},
    )


def _free_port(case: Case) -> tuple[Step, ...]:
    key, port = case.data.get("key", ""), case.data.get("free", "")
    if not key or not port:
        raise CannotFixError("no free port was found")
    host = case.data.get("host", "")
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    changes: dict[str, object] = {key: address if key == "api.bind_address" else int(port)}
    if key == "validator_comms.port" and case.data.get("published") == "same":
        changes["bittensor.axon_port"] = int(port)
    return _edit(case, "use a free port", changes)


def _wallet_own(case: Case) -> tuple[Step, ...]:
    path, owner, own = (case.data.get(key, "") for key in ("path", "owner", "own"))
    if not path or not own:
        raise CannotFixError("the hotkey's file and its owner are not known")
    give, back = (as_root("chown", "--no-dereference", whom, path) for whom in (own, owner))
    title = "give the hotkey to the user that the engine runs as"
    return (local_step(title, shlex.join(give), LocalCommand(give, back), shlex.join(back), as_whom="root"),)


def _ntp(case: Case) -> tuple[Step, ...]:
    keep, back = (as_root("timedatectl", "set-ntp", word) for word in ("true", "false"))
    return (
        local_step(
            "keep the clock in time by NTP",
            shlex.join(keep),
            LocalCommand(keep, back),
            shlex.join(back),
            as_whom="root",
        ),
    )


def _start(case: Case) -> tuple[Step, ...]:
    if start := case.data.get("start", ""):
        words, back = (tuple(shlex.split(text)) for text in (start, case.data.get("stop", "")))
        return (local_step("start the engine's container", start, LocalCommand(words, back), shlex.join(back)),)
    unit, whose = case.data.get("unit", UNIT), _whose(case)
    title, undo = "start the engine now and at every boot", (*whose, "disable", "--now", unit)
    return (systemctl_step(title, *whose, "enable", "--now", unit, undo=undo),)


def _whose(case: Case) -> tuple[str, ...]:
    return ("--user",) if case.data.get("for_user") else ()


def _install(case: Case) -> tuple[Step, ...]:
    return (service_step("install the systemd unit, and start the engine", config_path(case)),)


def _drop_in(case: Case, name: str, title: str, *settings: str) -> tuple[Step, ...]:
    unit = case.data.get("unit", "")
    if not unit:
        raise CannotFixError("the unit's file is not known")
    path = Path(f"{unit}.d") / name
    text = "[Service]\n" + "".join(f"{line}\n" for line in settings)
    whom = "you" if case.data.get("for_user") else "root"
    write = local_step(title, f"write {path}:\n{text.rstrip()}", WriteFile(path, text), f"rm {path}", as_whom=whom)
    reload = systemctl_step("let systemd read it", *_whose(case), "daemon-reload")
    return (write, reload) if Path("/run/systemd/system").is_dir() else (write,)


def _restart_always(case: Case) -> tuple[Step, ...]:
    if name := case.data.get("container", ""):
        words, back = (("docker", "update", "--restart", one, name) for one in ("always", case.data["restart"]))
        action = LocalCommand(words, back)
        return (local_step("start the engine again whenever it ends", shlex.join(words), action, shlex.join(back)),)
    return _drop_in(
        case, "50-restart.conf", "start the engine again whenever it ends", "Restart=always", "RestartSec=5"
    )


def _show_paths(case: Case) -> tuple[Step, ...]:
    name = f"50-{case.result.cause.replace('_', '-')}.conf"
    return _drop_in(case, name, "let the service see it", *case.data.get("lines", "").splitlines())


def _open_port(case: Case) -> tuple[Step, ...]:
    tool, add, remove = (case.data.get(key, "").strip() for key in ("tool", "add", "remove"))
    if not add:
        raise CannotFixError(case.data.get("why_not", "") or "which rule it is, is not known")
    lasts = "" if tool in LASTING else " (until the next boot: enter it in the firewall's own file, too)"
    title = f"let connections to the axon's port in by {tool}{lasts}"
    words, back = (as_root("sh", "-c", script) for script in (add, remove))
    undo = remove or "nft delete rule ... handle N: the number that nft gives the new rule"
    action = LocalCommand(words, back if remove else (), bool(remove), prints_undo=not remove)
    return (local_step(title, add, action, undo, as_whom="root"),)


def _act(title: str, verb: str, **args: object) -> Step:
    said = " ".join((verb, *(f"{name}={value}" for name, value in args.items())))
    return local_step(title, said, EngineAction(verb, args), as_whom="the running engine")


def _serve_axon(case: Case) -> tuple[Step, ...]:
    return (_act("publish this miner's address on chain", "axon.publish"),)


def _reconcile(case: Case) -> tuple[Step, ...]:
    return (_act("make the node's keys match the grants", "node.reconcile", node_id=case.target.node_id),)


FIXES = (
    Fix("host.key_chmod", "close the miner's SSH key to other users", _key_chmod),
    Fix("host.key_generate", "make an SSH key for the miner", _key_generate),
    Fix("host.ntp", "keep this host's clock in time", _ntp),
    Fix("host.free_port", "use a port that is free", _free_port),
    Fix("wallet.chmod", "close the hotkey to other users", _key_chmod),
    Fix(
        "wallet.own",
        "give the hotkey to the engine's user",
        _wallet_own,
        "the user of before cannot read it any more; run doctor as the user that the engine runs as",
    ),
    Fix("config.chmod", "close the configuration to other users", _config_chmod),
    Fix("config.restore", "put back the newest configuration that can be loaded", _restore),
    Fix("config.netuid", "set the subnet that belongs to the network", _netuid),
    Fix("config.axon_port", "publish the port that is bound", _axon_port),
    Fix("config.listen_everywhere", "open the door to other hosts", _listen),
    Fix("config.verify_signatures", "verify signatures", _verify),
    Fix("config.assign", "assign a validator", _assign),
    Fix("config.threshold", "lower the stake threshold", _threshold),
    Fix("config.intervals", "use the usual intervals", _intervals),
    Fix("config.wallet_name", "name the wallet that is there", _wallet_name),
    Fix("config.remove_keys", "take out keys without effect", _remove_keys),
    Fix("config.gpu_count", "correct the number of GPUs", _gpu_count),
    Fix("node.port", "correct the node's SSH port", _node_port),
    Fix("chain.serve_axon", "publish the axon again", _serve_axon),
    Fix("access.reconcile", "make a node's keys match its grants", _reconcile),
    Fix("service.install", "install the service", _install),
    Fix("service.restart_always", "restart the service whenever it ends", _restart_always),
    Fix("service.show_paths", "let the service see what it needs", _show_paths),
    Fix(
        "host.open_port",
        "open the axon's port on this host",
        _open_port,
        "everybody may then connect to the axon, as validators must",
    ),
    Fix("service.start", "start the service", _start),
)
