"""Units: what hardening hides, what a drop-in opens, and plans that say what they do before they do it."""

from __future__ import annotations

import json
import os
import pwd
from dataclasses import replace
from pathlib import Path

import pytest

from engine.config.miner import (
    MinerBittensorConfig,
    MinerConfig,
    MinerDatabaseConfig,
    MinerSshConfig,
    ValidatorCommsConfig,
)
from engine.config.validator import ValidatorConfig, ValidatorDatabaseConfig
from engine.deployment import apply_plan, hidden_by, look_at_service, needs_of, parse_unit, plan_install, plan_uninstall
from engine.deployment.access import barred
from engine.deployment.compose import compose_text, plan_compose
from engine.deployment.files import UNIT, deploy_folder, unit_text
from engine.deployment.hiding import HOMES, is_below
from engine.deployment.install import DROP_IN, ServiceChoice, drop_in_text
from engine.deployment.needs import EngineNeeds, Need
from engine.deployment.settings import quote, quote_path
from engine.deployment.status import other_instances
from engine.deployment.steps import ChangeOwner, MakeDirectory, RunCommand
from engine.diagnostics import look_service
from engine.diagnostics.model import Verdict
from engine.diagnostics.patient import patient_of
from engine.diagnostics.service_checks import judge_hardening
from engine.errors import ServiceFailed

CONFIG = Path("/opt/basilica/config/miner.toml")


def miner(*, wallets: str = "/root/.bittensor/wallets", key: str = "/root/.ssh/miner_node_key") -> EngineNeeds:
    config = MinerConfig(
        bittensor=MinerBittensorConfig(wallet_path=Path(wallets)),
        ssh_session=MinerSshConfig(miner_node_key_path=Path(key)),
    )
    return needs_of(config, CONFIG)


def choice(needs: EngineNeeds, units: Path = Path("/etc/systemd/system"), **more: object) -> ServiceChoice:
    settings: dict[str, object] = {"for_user": False, "units": units, "run_as": "root", **more}
    return ServiceChoice(needs, **settings)  # type: ignore[arg-type]


def service(*lines: str) -> str:
    return "\n".join(["[Service]", *lines])


def test_relative_paths_begin_where_the_deployed_miner_ran() -> None:
    """./data of /opt/basilica/config/miner.toml is /opt/basilica/data, whoever asks from wherever."""
    needs = miner()
    assert Path("/opt/basilica/data") in [need.path for need in needs.writable]
    assert needs.name == "miner"
    assert needs.hotkey == Path("/root/.bittensor/wallets/miner/hotkeys/default")


@pytest.mark.parametrize(
    ("lines", "hidden"),
    [
        ([], set()),
        (["ProtectHome=yes"], {"the hotkey", "the node key"}),
        (["ProtectHome=tmpfs", "BindReadOnlyPaths=/root/.bittensor"], {"the node key"}),
        (["ProtectHome=yes", "BindReadOnlyPaths=-/root/.bittensor /root/.ssh"], {"the hotkey", "the node key"}),
        (["ProtectHome=tmpfs", "BindReadOnlyPaths=-/root/.bittensor /root/.ssh:/root/.ssh"], set()),
        (["ProtectHome=read-only"], set()),
        (["ProtectSystem=strict"], {"the database's directory"}),
        (["ProtectSystem=strict", "ReadWritePaths=/opt/basilica/data /var/log/none"], set()),
        (
            ["ProtectSystem=strict", "ReadWritePaths=/opt/basilica/data", "ReadWritePaths="],
            {"the database's directory"},
        ),
        (["ProtectSystem=full"], set()),
        (["InaccessiblePaths=/opt/basilica/config"], {"the configuration"}),
        (["TemporaryFileSystem=/root:ro"], {"the hotkey", "the node key"}),
        (["ReadOnlyPaths=/opt"], {"the database's directory"}),
    ],
)
def test_what_hardening_hides(lines: list[str], hidden: set[str]) -> None:
    """Each setting hides what systemd.exec(5) says it hides, unless a later line shows it again."""
    found = hidden_by(parse_unit(service(*lines)), miner())
    assert {one.need.what for one in found} == hidden
    assert all(one.cure.split("=")[0] in one.words for one in found)


def test_private_tmp_hides_a_trial_in_tmp() -> None:
    """A set-up below /tmp works by hand and not under the unit; the words name the setting and the line to add."""
    needs = miner(wallets="/tmp/w", key="/tmp/k/key")
    found = {one.need.what: one for one in hidden_by(parse_unit(service("PrivateTmp=yes")), needs)}
    assert set(found) == {"the hotkey", "the node key", "the node key's directory"}
    assert "PrivateTmp=yes" in found["the hotkey"].words
    assert found["the node key's directory"].cure == "BindPaths=/tmp/k"


@pytest.mark.parametrize("key", ["/root/.ssh/miner_node_key", "/opt/basilica/keys/miner_node_key", "/home/a b/k/key"])
@pytest.mark.parametrize("wallets", ["/root/.bittensor/wallets", "/home/op/wa llets", "/var/lib/w", "/tmp/w%i$HOME"])
def test_our_unit_hides_nothing_that_the_engine_needs(wallets: str, key: str) -> None:
    """Template and drop-in together open exactly what the configuration names, wherever it lies."""
    needs = miner(wallets=wallets, key=key)
    unit = parse_unit(unit_text(for_user=False), drop_in_text(choice(needs)), instance="miner")
    assert hidden_by(unit, needs) == ()
    assert unit.restarts_always
    assert len(unit.lists["ExecStart"]) == 1
    # The template alone would hide it, so the drop-in is what makes the difference.
    assert hidden_by(parse_unit(unit_text(for_user=False)), needs) != ()


def test_a_key_in_somebodys_ssh_directory_stays_read_only() -> None:
    """The engine must not be able to write ~/.ssh/authorized_keys, so only the key file is shown; a note says it."""
    plan = plan_install(choice(miner()), has_systemd=True)
    unit = parse_unit(drop_in_text(choice(miner())))
    assert Path("/root/.ssh") not in unit.paths("BindPaths", "BindReadOnlyPaths", "ReadWritePaths")
    assert any("keys rotate" in note for note in plan.notes)


def test_nothing_is_made_for_a_user_who_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root would own what an unknown user was to get: it is refused before, with what to do."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    step = MakeDirectory(tmp_path / "data", "nobody-of-that-name")
    with pytest.raises(ServiceFailed, match="no user nobody-of-that-name") as caught:
        step.run()
    assert "useradd" in caught.value.hint
    assert not step.path.exists()
    with pytest.raises(ServiceFailed):
        ChangeOwner(tmp_path, "nobody-of-that-name").run()


def test_a_compose_file_asks_the_engine_of_its_own_configuration(tmp_path: Path) -> None:
    """Its health check names the configuration, so a socket that this one puts elsewhere is found; what is made belongs
    to the wallet's owner; what the engine only reads is mounted read-only."""
    needs = needs_of(MinerConfig(), tmp_path / "config/miner.toml", working_directory=tmp_path)
    choice = ServiceChoice(needs, False, tmp_path, "somebody")
    plan = plan_compose(choice, tmp_path / "compose", version="1", owner=(7, 8))
    text = compose_text(choice, version="1", owner=(7, 8))
    config = json.dumps(str(tmp_path / "config/miner.toml"))
    assert f'test: ["CMD", "basilica-tui", "--config", {config}, "show", "services"]' in text
    assert {step.owner for step in plan.steps if isinstance(step, MakeDirectory)} == {"somebody"}
    assert any(str(needs.hotkey) in line and "read_only: true" in line for line in text.splitlines())


def test_a_user_s_own_unit_is_enabled_as_the_user_s_own() -> None:
    """Where nothing starts it now, the note says the command that does; a session without a bus has its own hint."""
    needs = needs_of(MinerConfig(), CONFIG)
    own = ServiceChoice(needs, True, Path("/home/u/.config/systemd/user"))
    assert "systemctl --user enable --now" in plan_install(own, has_systemd=False).notes[0]
    reload = next(step for step in plan_install(own, has_systemd=True).steps if isinstance(step, RunCommand))
    assert "not through su or sudo" in reload.hint


def test_a_port_below_1024_gets_its_one_capability() -> None:
    """Only then is the set of capabilities not empty."""
    needs = needs_of(MinerConfig(validator_comms=ValidatorCommsConfig(port=443)), CONFIG)
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in drop_in_text(choice(needs))
    assert "CAP_" not in drop_in_text(choice(miner()))


def test_a_validator_is_an_instance_of_the_same_unit() -> None:
    """Its directories are those of its own configuration."""
    needs = needs_of(
        ValidatorConfig(database=ValidatorDatabaseConfig(url="sqlite:/srv/v/v.db")), Path("/srv/v/validator.toml")
    )
    assert choice(needs).unit == "basilica-tui@validator.service"
    unit = parse_unit(unit_text(for_user=False), drop_in_text(choice(needs)))
    assert hidden_by(unit, needs) == ()
    assert {Path("/srv/v"), Path("/srv/v/data/ssh_keys")} <= set(unit.paths("ReadWritePaths"))


@pytest.mark.parametrize("text", ["/a b", '/q"uote', "/per%cent", "/back\\slash", "/plain"])
def test_paths_come_back_as_they_were(text: str) -> None:
    """Quoting for a unit and reading the unit are inverse, for every character that means something to systemd."""
    unit = parse_unit(service(f"ReadWritePaths={quote_path(Path(text))}"))
    assert unit.paths("ReadWritePaths") == (Path(text),)
    assert quote("$HOME") == "$$HOME"


def test_the_plan_with_systemd_ends_with_a_start() -> None:
    """Files first, then the manager reads them, then the unit is enabled and started; nothing runs a shell."""
    plan = plan_install(choice(miner()), has_systemd=True)
    words = [step.words for step in plan.steps]
    assert words[-3:] == [
        "run systemctl daemon-reload",
        "run systemctl enable basilica-tui@miner.service",
        "run systemctl restart basilica-tui@miner.service",
    ]
    assert not any("systemctl" in step.words for step in plan_install(choice(miner()), has_systemd=False).steps)


def test_installing_twice_changes_nothing(tmp_path: Path) -> None:
    """Written files are recognised; uninstalling takes away what was written, and the data stays."""
    needs = replace(miner(), needs=(Need("the data directory", tmp_path / "data", writable=True),))
    chosen = choice(needs, tmp_path / "units")
    plan = plan_install(chosen, has_systemd=False)
    said: list[str] = []
    apply_plan(plan, said.append)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert [line.split()[0] for line in said] == ["done:"] * 3
    said.clear()
    apply_plan(plan_install(chosen, has_systemd=False), said.append)
    assert [line.split()[0] for line in said] == ["unchanged"] * 2

    apply_plan(plan_uninstall(chosen, has_systemd=False, others=False), said.append)
    assert [path for path in (tmp_path / "units").rglob("*") if path.is_file()] == []
    assert (tmp_path / "data").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody")
def test_what_the_service_s_user_may_not_use_is_given_to_it(tmp_path: Path) -> None:
    """Root wrote the configuration and the data, the hotkey is another user's: the plan gives both over, the hotkey and
    keys in somebody's .ssh never; afterwards nothing is barred."""
    base, ssh = tmp_path / "base", tmp_path / "home" / ".ssh"
    for folder in (base / "config", base / "data", base / "keys", base / "wallets/w/hotkeys", ssh):
        folder.mkdir(parents=True)
    config, key, guarded = base / "config/miner.toml", base / "keys/node", ssh / "id"
    for file in (config, key, guarded, base / "data/miner.db", base / "wallets/w/hotkeys/default"):
        file.write_text("")
        file.chmod(0o600)
    (base / "data").chmod(0o700)
    section = {"wallet_path": base / "wallets", "wallet_name": "w"}
    for node_key, closed in (
        (key, {"the configuration", "the node key", "the database's directory"}),
        (guarded, set()),
    ):
        settings = MinerConfig.model_validate(
            {"bittensor": section, "ssh_session": {"miner_node_key_path": node_key},
             "database": {"url": f"sqlite:{base}/data/miner.db"}}
        )  # fmt: skip
        needs = needs_of(settings, config, working_directory=base)
        choice = ServiceChoice(needs, False, tmp_path / "units", "nobody")
        plan = plan_install(choice, has_systemd=False)
        given = [step for step in plan.steps if isinstance(step, ChangeOwner)]
        assert {need.what for need in barred(needs, "nobody")} - {"the hotkey"} >= closed
        assert any("may not use the hotkey" in note for note in plan.notes)
        assert not {step.path for step in given} & {guarded, needs.hotkey}
        for step in given:
            step.run()
        left = {need.what for need in barred(needs, "nobody")}
        assert left <= {"the hotkey", "the node key"}
        assert ("the node key" in left) is (node_key == guarded)
    assert (base / "data/miner.db").stat().st_uid == pwd.getpwnam("nobody").pw_uid


def test_the_template_stays_while_another_instance_uses_it(tmp_path: Path) -> None:
    """Removing the validator's service leaves the miner's alone."""
    first = choice(miner(), tmp_path)
    second = choice(replace(miner(), name="validator"), tmp_path)
    for one in (first, second):
        apply_plan(plan_install(one, has_systemd=False), lambda _: None)
    assert other_instances(second)
    apply_plan(plan_uninstall(second, has_systemd=False, others=True), lambda _: None)
    assert look_at_service(first, running=False).exit_code == 3
    assert not other_instances(first)


def test_status_names_what_an_older_unit_gets_wrong(tmp_path: Path) -> None:
    """A unit that somebody else wrote is read like ours: hidden wallet, no restart, and how to say it better."""
    (tmp_path / UNIT).write_text(service("Restart=on-failure", "ProtectHome=yes", "User=nobody"))
    found = look_at_service(choice(miner(), tmp_path), running=False)
    assert found.exit_code == 3
    assert any("ProtectHome=yes hides it" in problem for problem in found.problems)
    assert any("Restart=always" in problem for problem in found.problems)
    assert "systemd does not run on this host" in "\n".join(found.lines())


def test_nothing_installed_is_said_so(tmp_path: Path) -> None:
    """No files, exit status 4, and no claim about a sandbox."""
    found = look_at_service(choice(miner(), tmp_path), running=False)
    assert found.exit_code == 4
    assert "not installed" in "\n".join(found.lines())
    assert "sandbox" not in "\n".join(found.lines())


def test_a_name_that_no_unit_can_have_is_refused() -> None:
    """An engine name with blanks or slashes never becomes part of a path."""
    with pytest.raises(ServiceFailed) as caught:
        plan_install(choice(replace(miner(), name="../x y")), has_systemd=True)
    assert "[engine] name" in caught.value.hint


def test_a_step_that_fails_says_which(tmp_path: Path) -> None:
    """A directory that cannot be written ends the plan with the step's own words and a way on."""
    (tmp_path / "units").write_text("a file in the way")
    with pytest.raises(ServiceFailed) as caught:
        apply_plan(plan_install(choice(miner(), tmp_path / "units"), has_systemd=False), lambda _: None)
    assert UNIT in caught.value.message
    assert "--user" in caught.value.hint


def test_the_templates_are_found() -> None:
    """Beside the package in a checkout; both units are there."""
    assert (deploy_folder() / "systemd" / UNIT).is_file()
    assert "Type=notify" in unit_text(for_user=True)
    with pytest.raises(FileNotFoundError):
        deploy_folder(Path("/nonexistent/a/b"))
    assert DROP_IN.endswith(".conf")
    assert is_below(Path("/root"), HOMES)


def test_the_doctor_reads_the_unit_as_systemd_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What service install wrote hides nothing by the doctor's check either; the template alone would."""
    key = tmp_path / "keys/miner_node_key"
    config = MinerConfig(
        bittensor=MinerBittensorConfig(wallet_path=Path("/root/.bittensor/wallets")),
        ssh_session=MinerSshConfig(miner_node_key_path=key),
        database=MinerDatabaseConfig(url=f"sqlite:{tmp_path / 'data/miner.db'}"),
    )
    needs = needs_of(config, tmp_path / "config/miner.toml")
    monkeypatch.setattr(look_service, "UNIT_FOLDERS", (str(tmp_path / "units"),))
    apply_plan(plan_install(choice(needs, tmp_path / "units"), has_systemd=False), lambda _: None)

    facts = look_service.look_at_unit(patient_of(config, needs.config))
    assert facts.unit.endswith("basilica-tui@miner.service")
    assert judge_hardening(facts).verdict is Verdict.OK, judge_hardening(facts)

    (tmp_path / "units/basilica-tui@miner.service.d" / DROP_IN).unlink()
    assert judge_hardening(look_service.look_at_unit(patient_of(config, needs.config))).cause == "hides_wallet"
