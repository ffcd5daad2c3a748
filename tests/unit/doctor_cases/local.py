"""Facts about this side: the configuration, the host, the wallet and the service."""

from __future__ import annotations

from typing import Any

from engine.config import MinerConfig
from engine.diagnostics.config_checks import ConfigFacts
from engine.diagnostics.container_facts import Container
from engine.diagnostics.host_facts import AxonView, HostFacts, OldMiner, PortFacts
from engine.diagnostics.service_checks import ServiceFacts
from engine.diagnostics.wallet_checks import WalletFacts
from engine.probes.firewall import FirewallFacts
from tests.unit.doctor_cases.case import FAILED, WARNING, Case

FILE = "/etc/basilica/miner.toml"
ADDRESS = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
UNIT = "/etc/systemd/system/basilica-tui@miner.service"
KEYS = "/home/m/.bittensor/wallets"
BOX = Container("1", "miner", True, "no", False, ports=(8091,), control=("docker", "miner"))
OLD = OldMiner(
    ("process 7 (basilica-miner)",), is_running=True, is_enabled=True, unit="basilica-miner.service", unit_runs=True
)


def config(**sections: dict[str, Any]) -> ConfigFacts:
    return ConfigFacts(MinerConfig.model_validate(sections), FILE)


def port(trouble: str, number: int = 8091, holder: str = "") -> HostFacts:
    facts = PortFacts("validator_comms.port", "0.0.0.0", number, False, trouble, holder, free=8092)
    return HostFacts(ports=(PortFacts("health.port", "127.0.0.1", 8080, True), facts))


def axon(outcome: str, bound: str = "0.0.0.0") -> HostFacts:
    return HostFacts(axon=AxonView("198.51.100.7:8091", "node one", outcome, bound))


def key(trouble: Any) -> HostFacts:
    return HostFacts(key_path="/k", key_trouble=trouble, key_said="/k: said")


def wallet(**known: Any) -> WalletFacts:
    return WalletFacts(KEYS, **{"name": "miner", "hotkey_name": "default", **known})


def service(**known: Any) -> ServiceFacts:
    said = dict.fromkeys(("engine_said", "health_said", "metrics_said", "database_said"), "what was heard")
    return ServiceFacts(**{"has_systemd": True, "unit": UNIT, **said, **known})


def settings(**values: str) -> ServiceFacts:
    hidden = (("wallet", "/home/m/.bittensor"), ("key", "/root/node_key"), ("config", "/tmp/miner.toml"))
    return service(settings={name: (value,) for name, value in values.items()}, hidden=hidden, data_dir="/srv/data")


CONFIG = (
    Case("config.file", "missing", FAILED, ConfigFacts(path=FILE, exists=False), "config.restore"),
    Case("config.file", "unreadable", FAILED, ConfigFacts(path=FILE, is_readable=False), "config.chmod"),
    Case(
        "config.file",
        "syntax",
        FAILED,
        ConfigFacts(path=FILE, read_error="line 3", backups=(f"{FILE}.bak-1",)),
        "config.restore",
    ),
    Case(
        "config.file", "open_to_others", WARNING, ConfigFacts(path=FILE, mode=0o644, has_secrets=True), "config.chmod"
    ),
    Case("config.values", "invalid", FAILED, ConfigFacts(problems=(("bittensor.axon_port", "axon_port: too large"),))),
    Case(
        "config.warnings",
        "unknown_keys",
        WARNING,
        ConfigFacts(warnings=(("x", "line 3: bittensor.walet is not known and has no effect"),)),
        "config.remove_keys",
    ),
    Case("config.warnings", "doubtful", WARNING, ConfigFacts(warnings=(("a.b", "a.b: unusual"),))),
    Case(
        "config.network",
        "other_subnet",
        FAILED,
        ConfigFacts(MinerConfig(), FILE, warnings=(("bittensor.netuid", "netuid 1 is not Basilica's"),)),
        "config.netuid",
    ),
    Case(
        "config.ports",
        "differ",
        FAILED,
        ConfigFacts(
            MinerConfig(), problems=(("bittensor.axon_port", "axon_port is 1, but validator_comms.port is 2"),)
        ),
        "config.axon_port",
    ),
    Case("config.ports", "loopback", FAILED, config(validator_comms={"host": "127.0.0.1"}), "config.listen_everywhere"),
    Case("config.nodes", "none", WARNING, config()),
    Case("config.signatures", "off", FAILED, config(security={"verify_signatures": False}), "config.verify_signatures"),
    Case("config.open_access", "open", WARNING, config(validator_assignment={"enabled": False}), "config.assign"),
    Case("config.intervals", "short_session", WARNING, config(access={"session_lifetime": 300}), "config.intervals"),
    Case(
        "config.intervals",
        "hasty_checks",
        WARNING,
        config(node_management={"health_check_interval": 10}),
        "config.intervals",
    ),
    Case(
        "config.intervals",
        "rare_checks",
        WARNING,
        config(node_management={"health_check_interval": 1800}),
        "config.intervals",
    ),
)
HOST = (
    Case("host.os", "not_linux", FAILED, HostFacts(system="Darwin")),
    Case("host.os", "old_release", WARNING, HostFacts(os_id="ubuntu", os_version="20.04", os_name="Ubuntu 20.04")),
    Case("host.cores", "few", WARNING, HostFacts(cores=2, nodes=1000)),
    Case("host.memory", "little", WARNING, HostFacts(memory_bytes=512 << 20)),
    Case("host.disk", "full", FAILED, HostFacts(data_dir="/d", disk_free_bytes=10**9, disk_min_bytes=2 * 10**9)),
    Case("host.open_files", "low", FAILED, HostFacts(files_soft=256, nodes=100)),
    Case("host.clock", "off", FAILED, HostFacts(skews_s=(90.0, 91.0)), "host.ntp"),
    Case("host.clock", "off", FAILED, HostFacts(chain_offset_s=-90.0, kernel_synced=True), "host.ntp"),
    Case("host.clock", "unsynchronised", WARNING, HostFacts(kernel_synced=False), "host.ntp"),
    Case("host.ports", "taken", FAILED, port("taken", holder="process 7 (nginx)"), "host.free_port"),
    Case("host.ports", "taken", FAILED, port("taken"), "host.free_port"),
    Case("host.ports", "deployed_miner", FAILED, port("taken", holder="process 7 (basilica-miner)"), "host.take_over"),
    Case(
        "host.ports",
        "deployed_miner",
        FAILED,
        HostFacts(
            ports=port("taken", holder="process 7 (docker-proxy)").ports,
            old_miner=OldMiner(containers=(BOX,)),
        ),
        "host.take_over",
    ),
    Case("host.ports", "forbidden", FAILED, port("forbidden", 443), "host.free_port"),
    Case("host.ports", "foreign", FAILED, port("foreign")),
    Case("host.dns", "no_resolver", FAILED, HostFacts(unresolved=("a.example",))),
    Case("host.dns", "silent", FAILED, HostFacts(unresolved=("a.example",), nameservers=("192.0.2.1",))),
    Case(
        "host.dns",
        "unknown",
        FAILED,
        HostFacts(unresolved=("a.example",), resolved=("b.example",), nameservers=("192.0.2.1",)),
    ),
    Case(
        "host.firewall",
        "closed",
        FAILED,
        HostFacts(firewall=FirewallFacts(iptables=("-P INPUT DROP",)), public_ports=(8091,)),
        "host.open_port",
    ),
    Case("host.axon_reach", "loopback", FAILED, axon("refused", "127.0.0.1"), "config.listen_everywhere"),
    Case("host.axon_reach", "refused", FAILED, axon("refused")),
    Case("host.axon_reach", "dropped", FAILED, axon("timeout")),
    Case("host.ssh_key", "missing", FAILED, key("missing"), "host.key_generate"),
    Case("host.ssh_key", "unreadable", FAILED, key("unreadable")),
    Case("host.ssh_key", "open_to_others", FAILED, key("open_to_others"), "host.key_chmod"),
    Case("host.ssh_key", "passphrase", FAILED, key("passphrase")),
    Case("host.ssh_key", "not_a_key", FAILED, key("not_a_key")),
    Case(
        "host.old_miner",
        "running",
        FAILED,
        HostFacts(old_miner=OLD),
        "host.take_over",
    ),
    Case(
        "host.old_miner",
        "enabled",
        WARNING,
        HostFacts(old_miner=OldMiner(("basilica-miner.service",), is_enabled=True)),
        "host.stop_old_miner",
    ),
)
WALLET = (
    Case("wallet.names", "address", FAILED, wallet(name=ADDRESS, wallets=("miner",)), "config.wallet_name"),
    Case("wallet.names", "address", FAILED, wallet(hotkey_name=ADDRESS), "config.wallet_name"),
    Case("wallet.files", "unreachable", FAILED, wallet(trouble="cannot be reached: Permission denied")),
    Case("wallet.files", "no_directory", FAILED, wallet(directory_exists=False, hotkey_exists=False)),
    Case("wallet.files", "no_wallet", FAILED, wallet(wallet_exists=False, hotkey_exists=False), "config.wallet_name"),
    Case("wallet.files", "no_hotkey", FAILED, wallet(hotkey_exists=False, hotkeys=("h1",)), "config.wallet_name"),
    Case("wallet.files", "not_a_file", FAILED, wallet(is_file=False)),
    Case("wallet.access", "unreadable", FAILED, wallet(is_readable=False, owner_uid=1, own_uid=2), "wallet.own"),
    Case("wallet.access", "closed", FAILED, wallet(is_readable=False, mode=0o200), "wallet.chmod"),
    Case("wallet.access", "open_to_others", FAILED, wallet(mode=0o640), "wallet.chmod"),
    Case("wallet.key", "no_password", FAILED, wallet(format="encrypted")),
    Case("wallet.key", "wrong_password", FAILED, wallet(format="encrypted", has_password=True, open_error="wrong")),
    Case("wallet.key", "public", FAILED, wallet(format="public")),
    Case("wallet.key", "not_a_key", FAILED, wallet(format="other", open_error="no key")),
    Case("wallet.coldkey", "here", WARNING, wallet(coldkey_is_here=True)),
)
SERVICE = (
    Case("service.unit", "absent", WARNING, ServiceFacts(has_systemd=True), "service.install"),
    Case("service.active", "stopped", FAILED, service(state="inactive dead"), "service.start"),
    Case(
        "service.active",
        "stopped",
        FAILED,
        ServiceFacts(container=Container("1", "miner", False, "no", False, control=("docker", "miner"))),
        "service.start",
    ),
    Case("service.active", "crashed", FAILED, service(state="failed failed"), "service.start"),
    Case(
        "service.active", "not_enabled", WARNING, service(state="active running", enabled="disabled"), "service.start"
    ),
    Case("service.restart", "on_failure", WARNING, settings(Restart="on-failure"), "service.restart_always"),
    Case("service.restart", "none", WARNING, settings(), "service.restart_always"),
    Case("service.hardening", "hides_wallet", FAILED, settings(InaccessiblePaths="/home/m"), "service.show_paths"),
    Case(
        "service.hardening",
        "hides_key",
        FAILED,
        settings(ProtectHome="tmpfs", BindReadOnlyPaths="/home/m/.bittensor"),
        "service.show_paths",
    ),
    Case("service.hardening", "hides_config", FAILED, settings(PrivateTmp="yes"), "service.show_paths"),
    Case("service.hardening", "read_only_data", FAILED, settings(ProtectSystem="strict"), "service.show_paths"),
    Case("service.engine", "silent", FAILED, service(engine="silent")),
    Case("service.engine", "refused", FAILED, service(engine="refused")),
    Case("service.health", "degraded", WARNING, service(engine="running", health="degraded")),
    Case("service.health", "no_answer", FAILED, service(engine="running", health="refused")),
    Case("service.health", "no_answer", FAILED, service(engine="running", health="silent")),
    Case("service.metrics", "no_answer", FAILED, service(engine="running", metrics="other")),
    Case("service.database", "damaged", FAILED, service(database="damaged")),
    Case("service.database", "locked", FAILED, service(database="locked")),
    Case("service.database", "unreadable", FAILED, service(database="unreadable")),
    Case("service.database", "unreachable", FAILED, service(database="unreachable")),
    Case("service.database", "newer", FAILED, service(database="newer")),
    Case("service.recording", "large", WARNING, service(recording_bytes=3 * 10**9, free_bytes=10**9)),
    Case("service.recording", "large", WARNING, service(recording_bytes=30 * 10**9, free_bytes=10**12)),
)
