"""The setup's pure half: node lists as people write them, answers, phases, the written file, and its state."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from engine.config import detect_role, load_miner_config, load_validator_config
from engine.errors import ConfigInvalid
from engine.setup.answers import ROLES, Answers, answers_of, defaults_of, with_role, with_text
from engine.setup.answers_file import EXAMPLES, read_answers
from engine.setup.draft import draft_config, draft_text
from engine.setup.key_deployment import usual_way_in
from engine.setup.nodes import MOST, parse_node, parse_nodes
from engine.setup.phases import ORDER, Phase, Setup, answer, fields_of, finish, go_back, resume
from engine.setup.questions import QUESTIONS, problems_of
from engine.setup.shares import parse_shares
from engine.setup.ssh_config import parse_ssh_config, read_ssh_config
from engine.setup.state_file import load_state, save_state
from engine.ssh.keys import ClientKey

GOOD = Answers(nodes="10.0.0.1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", ["b@10.0.0.1:22"]),
        ("root@gpu-1.example.org:2222", ["root@gpu-1.example.org:2222"]),
        ("10.0.0.10-12", ["b@10.0.0.10:22", "b@10.0.0.11:22", "b@10.0.0.12:22"]),
        ("u@10.0.0.0/30:2200", ["u@10.0.0.1:2200", "u@10.0.0.2:2200"]),
        ("gpu-[08-10]", ["b@gpu-08:22", "b@gpu-09:22", "b@gpu-10:22"]),
        ("gpu-[1-2]-[1-2]", ["b@gpu-1-1:22", "b@gpu-1-2:22", "b@gpu-2-1:22", "b@gpu-2-2:22"]),
        ("[2001:db8::1]:2222 2001:db8::2", ["b@2001:db8::1:2222", "b@2001:db8::2:22"]),
        ("ssh -i ~/.ssh/k -p 2222 -o X=y me@h1, h2;h3\nh4 # not h5", [
            "me@h1:2222", "b@h2:22", "b@h3:22", "b@h4:22"]),
        ("ssh -l me h1", ["me@h1:22"]),
        ("h1 h1 b@h1:22", ["b@h1:22"]),
        ("", []),
        ("# nothing", []),
    ],
)  # fmt: skip
def test_nodes_are_understood_as_people_write_them(text: str, expected: list[str]) -> None:
    """Lists, ranges, networks, pasted commands and comments; each node once, in its order."""
    assert [entry.text for entry in parse_nodes(text, username="b")] == expected


@pytest.mark.parametrize(
    "text",
    ["10.0.0.256", "10.0.0.9-3", "h:0", "h:99999", "h:x", "10.0.0.0/8", "a b@@c", "-oProxyCommand=x", "h;$(reboot)",
     "ssh -p 22", "ssh -p", "10.0.0.1/33", "gpu-[9-1]", "`id`@h", "\x1b[31mh"],
)  # fmt: skip
def test_what_is_no_node_is_refused_with_its_word(text: str) -> None:
    """A mistake is one sentence that quotes it; options and shell characters never become a host."""
    with pytest.raises(ConfigInvalid) as caught:
        parse_nodes(text, username="b")
    assert caught.value.problems


def test_a_mistyped_prefix_makes_no_thousands_of_logins() -> None:
    """Everything together is bounded."""
    with pytest.raises(ConfigInvalid, match="more than"):
        parse_nodes("10.0.0.0/23 10.0.2.0/23 10.0.4.0/23", username="b")
    assert MOST == 1024


def test_one_node_for_a_command() -> None:
    """``keys deploy`` wants exactly one, with its account."""
    assert parse_node("u@h", username="").port == 22
    for text in ("h", "u@10.0.0.1-3"):
        with pytest.raises(ConfigInvalid):
            parse_node(text, username="")


def test_hosts_come_from_the_ssh_configuration() -> None:
    """Patterns, code hosts and Match blocks are no nodes; the first value of a key counts, as in ssh."""
    text = """
    Host gpu-1 gpu-2
        HostName 10.0.0.1
        User root
        User later
        Port=2222
    Host *.internal !x
        User pattern
    Host github.com
        User git
    Match host foo
        User matched
    Host plain
    """
    found = parse_ssh_config(text, username="b").entries
    assert [entry.text for entry in found] == ["root@10.0.0.1:2222", "b@plain:22"]
    assert found[-1].name == "plain"


def test_the_ssh_configuration_is_read_as_ssh_reads_it(tmp_path: Path) -> None:
    """Include with patterns, Host * behind the hosts, negation; a host behind a jump host is told apart; it ends."""
    (tmp_path / "config").write_text(
        "Include conf.d/*.conf\nInclude config\nHost gpu-1 gpu-2\n  HostName %h.example.org\n  User = admin\n"
        "Host 10.0.0.9\nHost inner\n  ProxyJump bastion\nHost plain\n  ProxyJump none\n"
        'Host gpu-* !gpu-2\n\tPort 2222\nMatch exec "true"\n  Port 1\nHost *\n  User everybody\n'
        "  IdentityFile ~/.ssh/fleet\n  IdentityFile ~/.ssh/%h\n"
    )
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/a.conf").write_text("Host gpu-7\n  User \x1b[31m\n  Port 99999999999\nHost github.com\n")
    found = read_ssh_config(tmp_path / "config", username="basilica")
    assert [one.text for one in found.entries] == [
        "basilica@gpu-7:22",
        "admin@gpu-1.example.org:2222",
        "admin@gpu-2.example.org:22",
        "everybody@10.0.0.9:22",
        "everybody@plain:22",
    ]
    assert found.behind == ("inner",)
    assert found.identities == ("~/.ssh/fleet",)


def test_keys_that_the_ssh_configuration_names_are_a_way_in(tmp_path: Path) -> None:
    """Beside the usual ones, each once, and fewer than sshd lets anybody try."""
    keys = [ClientKey.generate(str(number)) for number in range(7)]
    keys[0].save(tmp_path / ".ssh/id_ed25519")
    for number, key in enumerate(keys):
        key.save(tmp_path / f".ssh/fleet-{number}")
    lines = [f"  IdentityFile ~/.ssh/fleet-{number}\n" for number in range(7)]
    (tmp_path / ".ssh/config").write_text("Host *\n  IdentityFile ~/.ssh/nobody\n" + "".join(lines))
    assert [one.fingerprint for one in usual_way_in(tmp_path).keys] == [one.fingerprint for one in keys[:5]]


def test_the_defaults_are_right_for_each_network() -> None:
    """39 and the guide's threshold on mainnet; 387 and none on the test network."""
    assert (GOOD.netuid, GOOD.stake_threshold) == (39, 12000.0)
    test = replace(GOOD, network="test")
    assert (test.netuid, test.stake_threshold) == (387, 0.0)
    assert replace(GOOD, min_stake=5.0).stake_threshold == 5.0
    assert problems_of(GOOD) == {}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"network": "mainnet"}, "network"),
        ({"network": "local"}, "chain_endpoint"),
        ({"wallet_name": "a/b"}, "wallet_name"),
        ({"nodes": ""}, "nodes"),
        ({"nodes": "10.0.0.300"}, "nodes"),
        ({"external_ip": "my.host"}, "external_ip"),
        ({"port": 0}, "port"),
        ({"assignment": "open"}, "assignment"),
        ({"assignment": "fixed_assignment"}, "validator_hotkey"),
        ({"service": "cron"}, "service"),
        ({"role": "minor"}, "role"),
        ({"role": "validator", "shares": "A100=50"}, "shares"),
        ({"role": "validator", "burn": 101.0}, "burn"),
        ({"role": "validator", "scoring": "mine"}, "scoring"),
        ({"role": "validator", "api": "8080"}, "api"),
    ],
)
def test_each_mistake_is_said_at_its_field(change: dict[str, object], field: str) -> None:
    """One sentence, at the field that is wrong."""
    assert set(problems_of(replace(GOOD, **change))) == {field}  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ROLES)
def test_the_examples_are_usable_answers_files(tmp_path: Path, role: str) -> None:
    """What --example prints runs as it is, and says nothing but the defaults where they are what is meant."""
    file = tmp_path / "a.toml"
    file.write_text(EXAMPLES[role])
    answers = read_answers(file)
    assert answers.role == role
    if role == "miner":
        assert len(answers.entries()) == 6
        assert answers.entries()[-1].text == "basilica@gpu-9.example.org:2222"
    else:
        expected = {"burn": 80.0, "directory": "/opt/basilica-validator", "service": "systemd"}
        assert answers == replace(defaults_of(role), **expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "word"),
    [("nodes = 3", "nodes"), ("nodez = 'x'", "nodez"), ("port = '1'", "port"), ("x = [", "TOML"), ("", "nodes"),
     ("nodes='h'\npassword='x'", "password")],
)  # fmt: skip
def test_an_answers_file_with_a_mistake_is_refused(tmp_path: Path, text: str, word: str) -> None:
    """Unknown keys, wrong types and missing nodes are named."""
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(ConfigInvalid) as caught:
        read_answers(file)
    assert word in " ".join([caught.value.message, *caught.value.problems])


def test_a_mistake_in_an_answers_file_has_its_line_and_what_is_meant(tmp_path: Path) -> None:
    """Each problem names line and key, a misspelt key the nearest one, a wrong type an example; a hint goes on."""
    file = tmp_path / "a.toml"
    file.write_text('# mine\nnodes = ["10.0.0.1"]\nwallet_nam = "x"\nport = "50051"\nnodes_user = 3\ndeploy_key = 1\n')
    with pytest.raises(ConfigInvalid) as caught:
        read_answers(file)
    assert caught.value.problems == (
        "line 3: wallet_nam: is no key; is 'wallet_name' meant?",
        "line 4: port: must be a whole number, such as 50051",
        "line 5: nodes_user: is no key; is 'node_user' meant?",
        "line 6: deploy_key: must be true or false, such as true",
    )
    assert "setup --example" in caught.value.hint
    file.write_text('role = "miner"\n\nnodes = ["10.0.0.1", "10.0.0.300"]\n  port = 70000\n')
    with pytest.raises(ConfigInvalid) as caught:
        read_answers(file)
    assert [one.split(":")[0] for one in caught.value.problems] == ["line 4", "line 3"]
    file.write_bytes(b"role = 'miner'\n\xff\n")
    with pytest.raises(ConfigInvalid, match="line 2 is not UTF-8"):
        read_answers(file)
    file.write_bytes(b"#" * (300 * 1024))
    with pytest.raises(ConfigInvalid, match="larger than 256 KiB"):
        read_answers(file)


def test_every_question_is_on_a_page_and_says_what_a_mistake_costs() -> None:
    """No field without its price, no page with a field that is no answer, none asked twice; the role comes first."""
    every = set()
    for role in ROLES:
        asked = [key for phase in ORDER for key in fields_of(role, phase)]
        assert len(asked) == len(set(asked))
        assert asked[0] == "role"
        every |= set(asked)
    assert every == set(QUESTIONS)
    assert all(hasattr(GOOD, key) and QUESTIONS[key].price for key in every)


def test_phases_lead_to_the_end_and_back() -> None:
    """Six steps forward finish; back undoes nothing."""
    setup = Setup(GOOD)
    for _ in ORDER:
        setup = finish(setup)
    assert setup.is_complete
    assert setup.phase is Phase.START
    assert go_back(setup).phase is Phase.DEPLOY
    assert go_back(setup).done == setup.done
    assert go_back(Setup(GOOD)).phase is Phase.KEYS


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"nodes": "10.0.0.2"}, Phase.KEYS),
        ({"directory": "/srv/b"}, Phase.KEYS),
        ({"port": 1234}, Phase.CONFIG),
        ({"service": "none"}, Phase.DEPLOY),
        ({}, None),
    ],
)
def test_another_answer_undoes_what_depends_on_it(change: dict[str, object], first: Phase | None) -> None:
    """From the page of the changed field on, everything has to be done again."""
    done = Setup(GOOD, Phase.START, frozenset(ORDER))
    after = answer(done, replace(GOOD, **change))  # type: ignore[arg-type]
    assert resume(after).phase is (first or Phase.START)
    assert after.is_complete is (first is None)


def test_the_state_survives_and_holds_no_secret(tmp_path: Path) -> None:
    """Mode 600, resumed at the first unfinished phase; a damaged or foreign file is a fresh start."""
    file = tmp_path / "s" / "setup.json"
    save_state(file, Setup(GOOD, Phase.INSTALL, frozenset({Phase.KEYS, Phase.CONFIG, Phase.VERIFY})))
    assert file.stat().st_mode & 0o777 == 0o600
    assert not {"password", "secret", "seed", "mnemonic"} & set(json.loads(file.read_text())["answers"])
    found = load_state(file)
    assert found is not None
    assert (found.phase, found.answers) == (Phase.INSTALL, GOOD)
    for text in ("", "{", "[]", '{"answers": {"x": 1}, "done": []}', '{"answers": {}, "done": ["nope"]}'):
        file.write_text(text)
        assert load_state(file) is None
    assert load_state(tmp_path / "none") is None


def test_the_written_file_is_commented_and_loads(tmp_path: Path) -> None:
    """Each key has its sentence, the engine reads it, and it says what the answers said."""
    answers = replace(GOOD, network="test", directory=str(tmp_path), external_ip="203.0.113.7", min_stake=7.0)
    text = draft_text(answers)
    file = tmp_path / "miner.toml"
    file.write_text(text)
    config = load_miner_config(file, check=False).config
    assert config == draft_config(answers)
    assert config.bittensor.netuid == 387
    assert config.validator_assignment.min_stake_threshold == 7.0
    assert config.node_management.nodes[0].username == "basilica"
    lines = text.splitlines()
    for key in ("network", "external_ip", "nodes", "miner_node_key_path", "min_stake_threshold"):
        index = next(i for i, line in enumerate(lines) if line.startswith(f"{key} = "))
        assert lines[index - 1].startswith("# ")
    assert tomllib.loads(text)["bittensor"]["axon_port"] == answers.port


VALIDATOR = replace(defaults_of("validator"), network="test")


def test_a_role_brings_its_own_defaults_and_leaves_what_was_given() -> None:
    """Names of wallet and engine follow the role while nobody changed them; nodes are kept for the way back."""
    typed = replace(GOOD, wallet_name="mine")
    turned = with_text(typed, "role", "validator")
    assert (turned.wallet_name, turned.name, turned.nodes) == ("mine", "validator", "10.0.0.1")
    assert with_role(GOOD, "validator").wallet_name == "validator"
    assert with_role(with_role(GOOD, "validator"), "miner") == GOOD
    assert GOOD.base != with_role(GOOD, "validator").base
    assert answers_of({"role": "validator"}).name == "validator"


def test_another_role_is_another_setup() -> None:
    """Nothing that was done for a miner counts for a validator."""
    done = Setup(GOOD, Phase.START, frozenset(ORDER))
    assert answer(done, with_role(GOOD, "validator")).done == frozenset()


def test_a_validator_needs_no_nodes_and_no_address() -> None:
    """Its defaults can be used as they are."""
    assert problems_of(defaults_of("validator")) == {}
    assert defaults_of("validator").burn_percentage == 80.0
    assert VALIDATOR.burn_percentage == 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A100=8 H100=12 B200=80:8", {"A100": (8.0, 1), "H100": (12.0, 1), "B200": (80.0, 8)}),
        ("h100=33.33, a100=33.33%;b200=33.34", {"H100": (33.33, 1), "A100": (33.33, 1), "B200": (33.34, 1)}),
        ("H100=100", {"H100": (100.0, 1)}),
    ],
)
def test_shares_are_understood_as_people_write_them(text: str, expected: dict[str, tuple[float, int]]) -> None:
    """Blanks, commas or semicolons between; case and percent signs do not matter."""
    assert {name: (share.percent, share.least_gpus) for name, share in parse_shares(text).items()} == expected


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "at least one"), ("A100", "CATEGORY=PERCENT"), ("A100=60 H100=30", "sum to 90"), ("A100=50 a100=50", "twice"),
     ("A100=-5 H100=105", "CATEGORY=PERCENT"), ("A100=100:0", "at least 1"), ("A100=nan", "CATEGORY"),
     ("A100=1e9", "CATEGORY"), ("\x1b[31m=100", "CATEGORY")],
)  # fmt: skip
def test_shares_that_mean_nothing_are_refused_with_the_word(text: str, word: str) -> None:
    """One sentence that says what is wrong."""
    with pytest.raises(ConfigInvalid, match=word):
        parse_shares(text)


@pytest.mark.parametrize(("key", "text"), [("min_stake", "-5"), ("burn", "nan"), ("burn", "inf"), ("port", "x")])
def test_what_is_no_number_is_said_while_it_is_typed(key: str, text: str) -> None:
    """A mistyped number never becomes the default in silence."""
    with pytest.raises(ValueError, match="number"):
        with_text(GOOD, key, text)


def test_a_validator_s_file_is_commented_and_loads(tmp_path: Path) -> None:
    """The engine takes it for a validator's, and it says what the answers said."""
    answers = replace(VALIDATOR, directory=str(tmp_path), shares="H100=40 B200=60:8", burn=12.5, burn_uid=7)
    file = tmp_path / "any.toml"
    file.write_text(draft_text(answers))
    config = load_validator_config(file, check=False).config
    assert detect_role(file) == "validator"
    assert config == draft_config(answers)
    assert (config.emission.burn_percentage, config.emission.burn_uid) == (12.5, 7)
    assert config.emission.gpu_allocations["B200"].min_gpu_count == 8
    assert config.api.bind_address == "127.0.0.1:8080"
    lines = file.read_text().splitlines()
    for start in ("network = ", "bind_address = ", "burn_percentage = ", "[emission.gpu_allocations.H100]"):
        index = next(i for i, line in enumerate(lines) if line.startswith(start))
        assert lines[index - 1].startswith("# ")


@pytest.mark.parametrize(
    "change",
    [
        {"port": 70000}, {"port": 0}, {"node_user": ""}, {"network": "x" * 5000}, {"name": ""}, {"health_port": 0},
        {"role": "validator", "api": ""}, {"role": "validator", "burn": 1e9}, {"role": "validator", "shares": "x"},
        {"role": "validator", "burn_uid": 70000}, {"wallet_name": ""}, {"hotkey_name": ""}, {"metrics_port": 1 << 40},
    ],
)  # fmt: skip
def test_what_is_half_typed_is_a_configuration_or_a_sentence(change: dict[str, object]) -> None:
    """A page looks at answers after every key: none of them may end it."""
    answers = replace(GOOD, **change)  # type: ignore[arg-type]  # fields of Answers
    try:
        assert draft_text(answers)
    except ConfigInvalid as error:
        assert error.problems or error.message


def test_answers_come_from_plain_values() -> None:
    """Whole numbers are taken for TAO; lists of nodes are joined."""
    answers = answers_of({"min_stake": 5, "nodes": ["a", "b"]})
    assert (answers.min_stake, len(answers.entries())) == (5.0, 2)
    assert answers.base == Path("/opt/basilica" if os.geteuid() == 0 else "~/.local/share/basilica").expanduser()
