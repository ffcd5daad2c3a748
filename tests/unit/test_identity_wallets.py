"""Wallets: real files of the SDK, opened, refused with a hint, and never printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bittensor import Signer, Wallet
from bittensor.sp_core import Keypair

from engine.errors import WalletUnusable
from engine.identity.signatures import verify
from engine.identity.wallets import create_wallet, find_password, open_wallet

ADDRESS = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("locked")
    create_wallet(root, "miner", "default", password=PASSWORD)
    return root


def test_a_created_wallet_opens_again_and_signs(tmp_path: Path) -> None:
    """What create_wallet writes, open_wallet and the SDK read, with private files."""
    made = create_wallet(tmp_path, "miner", "default")
    opened = open_wallet(tmp_path, "miner", "default", env={})
    assert opened.signer.hotkey == made.signer.hotkey == Wallet("miner", "default", str(tmp_path)).hotkey.ss58_address
    assert verify(opened.signer.hotkey, b"payload", opened.signer.sign(b"payload"))
    assert opened.sdk.ss58_address == opened.signer.hotkey
    assert Path(opened.hotkey_path).stat().st_mode & 0o077 == 0
    assert made.coldkey == Wallet("miner", "default", str(tmp_path)).coldkeypub.ss58_address


def test_a_uri_makes_well_known_keys(tmp_path: Path) -> None:
    """Development URIs give the development addresses, and a second hotkey keeps the coldkey."""
    assert create_wallet(tmp_path, "dev", "one", uri="//Alice").signer.hotkey == ADDRESS
    cold = (tmp_path / "dev" / "coldkey").read_bytes()
    create_wallet(tmp_path, "dev", "two", uri="//Bob")
    assert (tmp_path / "dev" / "coldkey").read_bytes() == cold
    with pytest.raises(WalletUnusable, match="exists already"):
        create_wallet(tmp_path, "dev", "two")


def test_deployed_key_files_open(tmp_path: Path) -> None:
    """A bare phrase, a bare seed and JSON with a seed are hotkey files too."""
    phrase = Keypair.generate_mnemonic(12)
    seed = "0x" + "11" * 32
    cases = {"phrase": phrase, "seed": json.dumps({"secretSeed": seed}), "raw": seed}
    hotkeys = tmp_path / "w" / "hotkeys"
    hotkeys.mkdir(parents=True)
    addresses = {}
    for name, content in cases.items():
        (hotkeys / name).write_text(content)
        (hotkeys / name).chmod(0o600)
        addresses[name] = open_wallet(tmp_path, "w", name).signer.hotkey
    assert addresses["phrase"] == Keypair.create_from_mnemonic(phrase).ss58_address
    assert addresses["seed"] == addresses["raw"]


def test_an_encrypted_hotkey_opens_with_its_password(locked: Path) -> None:
    """The right password unlocks the hotkey for us and for the SDK, and stays out of every representation."""
    opened = open_wallet(locked, "miner", "default", env={"BASILICA_WALLET_PASSWORD": PASSWORD})
    assert isinstance(opened.sdk, Signer) and not isinstance(opened.sdk, Wallet)
    assert verify(opened.signer.hotkey, b"payload", opened.sdk.sign(b"payload").hex())
    assert PASSWORD not in repr(opened)


def test_the_password_comes_from_the_first_source_that_has_one(tmp_path: Path) -> None:
    """File first, then environment, then the question; a trailing newline in the file is not part of it."""
    secret = tmp_path / "secret"
    secret.write_text("from file\n")
    secret.chmod(0o600)
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "from the operator"

    hotkey, env = Path("hotkeys/default"), {"BASILICA_WALLET_PASSWORD": "from environment"}
    assert find_password(hotkey, secret, env, ask) == "from file"
    assert find_password(hotkey, None, env, ask) == "from environment"
    assert asked == []
    assert find_password(hotkey, None, {}, ask) == "from the operator"
    assert len(asked) == 1
    assert "hotkeys/default" in asked[0]


def test_a_typed_password_may_be_wrong_twice(locked: Path) -> None:
    """The third typed password still opens; after three wrong ones, or an empty one, nobody is asked again."""
    prompts: list[str] = []

    def typing(*passwords: str) -> Callable[[str], str]:
        answers = iter(passwords)
        prompts.clear()

        def ask(prompt: str) -> str:
            prompts.append(prompt)
            return next(answers)

        return ask

    opened = open_wallet(locked, "miner", "default", env={}, ask=typing("worng", "wrong", PASSWORD))
    assert verify(opened.signer.hotkey, b"payload", opened.signer.sign(b"payload"))
    assert [prompt.count("does not open") for prompt in prompts] == [0, 1, 1]
    with pytest.raises(WalletUnusable, match="does not open"):
        open_wallet(locked, "miner", "default", env={}, ask=typing("one", "two", "three", PASSWORD))
    assert len(prompts) == 3
    with pytest.raises(WalletUnusable, match="no password was given"):
        open_wallet(locked, "miner", "default", env={}, ask=typing("wrong", "", PASSWORD))
    assert len(prompts) == 2
    with pytest.raises(WalletUnusable, match="does not open"):
        env = {"BASILICA_WALLET_PASSWORD": "not-this-one"}
        open_wallet(locked, "miner", "default", env=env, ask=typing(PASSWORD))
    assert prompts == []


def test_a_locked_hotkey_says_what_it_needs(locked: Path, tmp_path: Path) -> None:
    """No password, a wrong one, and password files that cannot serve each have their own words."""
    with pytest.raises(WalletUnusable, match="encrypted and no password") as caught:
        open_wallet(locked, "miner", "default", env={})
    assert "password_file" in caught.value.hint
    with pytest.raises(WalletUnusable, match="does not open") as caught:
        open_wallet(locked, "miner", "default", env={"BASILICA_WALLET_PASSWORD": "not-this-one"})
    assert "not-this-one" not in str(caught.value)
    with pytest.raises(WalletUnusable, match="cannot be read"):
        open_wallet(locked, "miner", "default", password_file=tmp_path / "nowhere", env={})
    (tmp_path / "open").write_text(PASSWORD)
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(WalletUnusable, match="open to other users"):
        open_wallet(locked, "miner", "default", password_file=tmp_path / "open", env={})
    (tmp_path / "empty").touch(0o600)
    with pytest.raises(WalletUnusable, match="no password"):
        open_wallet(locked, "miner", "default", password_file=tmp_path / "empty", env={})


@pytest.mark.parametrize(
    ("name", "hotkey", "message", "hint"),
    [
        ("minr", "default", "no wallet minr", "one of: miner"),
        ("miner", "defualt", "no hotkey file", "one of: default"),
        (ADDRESS, "default", "is an SS58 address", "one of: miner"),
        ("miner", ADDRESS, "is an SS58 address", "one of: default"),
        ("", "default", "not a name", "wallets"),
        ("../miner", "default", "not a name", ""),
        ("miner", "..", "not a name", ""),
        ("miner", "a\0b", "not a name", ""),
        ("miner", "x" * 300, "cannot be reached", ""),
    ],
)
def test_wrong_names_are_answered_with_the_right_ones(
    tmp_path: Path, name: str, hotkey: str, message: str, hint: str
) -> None:
    """A wrong wallet or hotkey name lists what there is."""
    root = tmp_path / "wallets"
    create_wallet(root, "miner", "default", uri="//Alice")
    with pytest.raises(WalletUnusable, match=message) as caught:
        open_wallet(root, name, hotkey, env={})
    assert hint in caught.value.hint


def test_missing_places_are_named(tmp_path: Path) -> None:
    """No wallet directory, a coldkey alone and an empty wallet are told apart."""
    with pytest.raises(WalletUnusable, match="no wallet directory"):
        open_wallet(tmp_path / "none", "miner", "default", env={})
    (tmp_path / "cold" / "hotkeys").mkdir(parents=True)
    with pytest.raises(WalletUnusable, match="no hotkey file"):
        open_wallet(tmp_path, "cold", "default", env={})
    (tmp_path / "cold" / "coldkey").touch()
    with pytest.raises(WalletUnusable, match="a coldkey but no hotkey") as caught:
        open_wallet(tmp_path, "cold", "default", env={})
    assert "new_hotkey" in caught.value.hint


def test_files_that_are_no_private_hotkey_are_refused(tmp_path: Path) -> None:
    """Wrong mode, a directory, rubbish, a public half and another key type are refused, secrets unquoted."""
    hotkeys = tmp_path / "w" / "hotkeys"
    (hotkeys / "folder").mkdir(parents=True)
    contents = {
        "rubbish": "top secret rubbish",
        "public": json.dumps({"ss58Address": ADDRESS}),
        "binary": "\udcff\udcfe",
        "large": "x" * 70_000,
        "ed25519": json.dumps({"secretSeed": "0x" + "11" * 32, "cryptoType": 0}),
    }
    for name, content in contents.items():
        (hotkeys / name).write_bytes(content.encode("utf-8", "surrogateescape"))
        (hotkeys / name).chmod(0o600)
    expected = {
        "folder": "not a regular file",
        "rubbish": "not a hotkey file",
        "public": "only a public key",
        "binary": "not a hotkey file",
        "large": "too large",
        "ed25519": "not an sr25519 key",
    }
    for name, words in expected.items():
        with pytest.raises(WalletUnusable, match=words) as caught:
            open_wallet(tmp_path, "w", name, env={})
        assert "top secret" not in str(caught.value)
    create_wallet(tmp_path, "w", "wide")
    (hotkeys / "wide").chmod(0o640)
    with pytest.raises(WalletUnusable, match="0640") as caught:
        open_wallet(tmp_path, "w", "wide", env={})
    assert caught.value.hint == f"chmod 600 {hotkeys / 'wide'}"
