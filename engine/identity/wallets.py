"""Bittensor wallets on disk: opening a hotkey to sign with, and making unencrypted ones for a local subnet."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from engine.errors import WalletUnusable
from engine.identity import ss58
from engine.identity.signatures import KeypairSigner, Signer

PASSWORD_VARIABLE = "BASILICA_WALLET_PASSWORD"  # noqa: S105 - the name of a variable, not a password
TYPED_TRIES = 3
"""How often a password is asked for, as sudo and ssh do."""
_LARGEST_KEY_FILE = 64 * 1024


class _WrongPassword(WalletUnusable):
    """The password does not open the hotkey; a typed one may be tried again."""


@dataclass(frozen=True, slots=True)
class OpenWallet:
    """A wallet whose hotkey is unlocked in memory."""

    signer: Signer
    name: str
    hotkey_name: str
    hotkey_path: Path
    sdk: Any = field(repr=False)
    """The unlocked hotkey, a ``bittensor.Signer``, for the chain room only. Not the ``bittensor.Wallet``: that one
    goes back to its file for every signature, and asks the terminal for the password of an encrypted one."""
    coldkey: str = ""
    """SS58 address of the coldkey, where a wallet was just created and it is known."""


def open_wallet(
    path: Path,
    name: str,
    hotkey_name: str,
    *,
    password_file: Path | None = None,
    env: Mapping[str, str] | None = None,
    ask: Callable[[str], str] | None = None,
) -> OpenWallet:
    """Open ``path/name/hotkeys/hotkey_name``; the coldkey is never touched.

    An encrypted hotkey takes its password from ``password_file``, else from BASILICA_WALLET_PASSWORD in ``env``
    (the process environment if None), else from ``ask(prompt)``, where two wrong ones are forgiven. Decrypting takes
    about three seconds of CPU by design, so call this before the event loop runs. Raises WalletUnusable.
    """
    hotkey_path = _find_hotkey(path.expanduser(), name, hotkey_name)
    _check_key_file(hotkey_path)

    from bittensor import Wallet  # noqa: PLC0415 - loading the SDK takes half a second

    wallet = Wallet(name=name, hotkey=hotkey_name, path=str(path.expanduser()))
    if wallet.hotkey_file.is_encrypted():
        keypair = _unlock_encrypted(wallet, hotkey_path, password_file, os.environ if env is None else env, ask)
    else:
        keypair = _unlock(wallet, hotkey_path, None, "")
    return OpenWallet(KeypairSigner(keypair), name, hotkey_name, hotkey_path, keypair)


def create_wallet(
    path: Path, name: str, hotkey_name: str, *, uri: str | None = None, password: str | None = None
) -> OpenWallet:
    """Create a hotkey, and its coldkey where there is none; both unencrypted unless ``password`` locks the hotkey.

    ``uri`` such as ``//Alice`` makes well-known development keys. For a local subnet and tests: a coldkey with value
    has no place on a server. Raises WalletUnusable when the hotkey exists already.
    """
    path = path.expanduser()
    for value, key in ((name, "wallet_name"), (hotkey_name, "hotkey_name")):
        _check_name(value, key, path)

    from bittensor import Wallet  # noqa: PLC0415
    from bittensor.sp_core import Keypair  # noqa: PLC0415

    wallet = Wallet(name=name, hotkey=hotkey_name, path=str(path))
    hotkey_path = Path(wallet.hotkey_file.path)
    if hotkey_path.exists():
        raise WalletUnusable(f"{hotkey_path} exists already", hint="choose another hotkey name; keys are not replaced")
    try:
        if uri:
            hotkey = Keypair.create_from_uri(uri)
            wallet.hotkey_file.set_keypair(hotkey, encrypt=password is not None, overwrite=False, password=password)
            wallet.get_hotkey(password)
        else:
            phrase = Keypair.generate_mnemonic(12)
            wallet.regenerate_hotkey(mnemonic=phrase, hotkey_password=password, suppress=True)
        if not wallet.coldkey_file.exists_on_device() and not wallet.coldkeypub_file.exists_on_device():
            coldkey = Keypair.create_from_uri(f"{uri}//cold") if uri else None
            _create_coldkey(wallet, coldkey or Keypair.create_from_mnemonic(Keypair.generate_mnemonic(12)))
    except OSError as error:
        raise WalletUnusable(f"{hotkey_path} cannot be written: {error.strerror}") from error
    keypair = wallet.hotkey
    coldkey = str(wallet.coldkeypub.ss58_address) if wallet.coldkeypub_file.exists_on_device() else ""
    return OpenWallet(KeypairSigner(keypair), name, hotkey_name, hotkey_path, keypair, coldkey)


def _create_coldkey(wallet: Any, coldkey: Any) -> None:
    from bittensor.sp_core import Keypair  # noqa: PLC0415

    wallet.coldkey_file.set_keypair(coldkey, encrypt=False, overwrite=False)
    public = Keypair(public_key=bytes(coldkey.public_key))
    wallet.coldkeypub_file.set_keypair(public, encrypt=False, overwrite=False)


def _find_hotkey(path: Path, name: str, hotkey_name: str) -> Path:
    _check_name(name, "wallet_name", path)
    _check_name(hotkey_name, "hotkey_name", path / name / "hotkeys")
    hotkey_path = path / name / "hotkeys" / hotkey_name
    try:
        hotkey_path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise _what_is_missing(path, name, hotkey_name) from None
    except OSError as error:
        raise WalletUnusable(
            f"{hotkey_path} cannot be reached: {error.strerror}",
            hint="run the engine as the owner of the wallet, or give it the wallet as a read-only bind",
        ) from error
    return hotkey_path


def _what_is_missing(path: Path, name: str, hotkey_name: str) -> WalletUnusable:
    wallet_dir = path / name
    if not path.is_dir():
        return WalletUnusable(
            f"there is no wallet directory {path}",
            hint="create a wallet with btcli wallet create, or set bittensor.wallet_path",
        )
    if not wallet_dir.is_dir():
        return WalletUnusable(
            f"there is no wallet {name} in {path}",
            hint=_known(path, "set bittensor.wallet_name to one of") or "create one with btcli wallet create",
        )
    others = _known(wallet_dir / "hotkeys", "set bittensor.hotkey_name to one of")
    if not others and (wallet_dir / "coldkey").exists():
        return WalletUnusable(
            f"the wallet {wallet_dir} holds a coldkey but no hotkey",
            hint=f"create it with btcli wallet new_hotkey --wallet.name {name} --wallet.hotkey {hotkey_name}",
        )
    return WalletUnusable(
        f"there is no hotkey file {wallet_dir / 'hotkeys' / hotkey_name}",
        hint=others or "copy the hotkey file to this host, or create one with btcli wallet new_hotkey",
    )


def _check_name(value: str, key: str, where: Path) -> None:
    if not value or value in {".", ".."} or "/" in value or "\0" in value:
        raise WalletUnusable(f"{key} {value!r} is not a name", hint=f"give the plain name of an entry in {where}")
    if ss58.is_address(value):
        raise WalletUnusable(
            f"{key} {value} is an SS58 address, not a name",
            hint=_known(where, "give the name of an entry, one of") or f"give the name of an entry in {where}",
        )


def _known(folder: Path, sentence: str) -> str:
    try:
        names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return ""
    names = [name for name in names if not name.endswith("pub.txt")]
    return f"{sentence}: {', '.join(names[:8])}" if names else ""


def _check_key_file(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise WalletUnusable(f"{path} is not a regular file", hint="set bittensor.hotkey_name to a key file's name")
    if status.st_size > _LARGEST_KEY_FILE:
        raise WalletUnusable(f"{path} is too large to be a key file")
    if not os.access(path, os.R_OK):
        raise WalletUnusable(f"{path} may not be read by this user", hint="run the engine as the owner of the wallet")
    _check_private(path, status)


def _check_private(path: Path, status: os.stat_result) -> None:
    if status.st_mode & 0o077:
        raise WalletUnusable(
            f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})", hint=f"chmod 600 {path}"
        )


def find_password(
    hotkey_path: Path, password_file: Path | None, env: Mapping[str, str], ask: Callable[[str], str] | None
) -> str:
    """The password of an encrypted hotkey from the first source that has one; raises WalletUnusable."""
    if password_file is not None:
        password = _password_from(password_file.expanduser())
    else:
        password = env.get(PASSWORD_VARIABLE, "") or _asked(hotkey_path, ask)
    if not password:
        raise WalletUnusable(
            f"{hotkey_path} is encrypted and no password was given",
            hint=f"set bittensor.password_file to a file with mode 600, or {PASSWORD_VARIABLE}",
        )
    return password


def _unlock_encrypted(
    wallet: Any, path: Path, password_file: Path | None, env: Mapping[str, str], ask: Callable[[str], str] | None
) -> Any:
    """Only who types may try again: a file or a variable would be wrong again."""
    source = _source(password_file, env)
    if ask is None or password_file is not None or env.get(PASSWORD_VARIABLE):
        return _unlock(wallet, path, find_password(path, password_file, env, None), source)
    asking = ask
    for _ in range(TYPED_TRIES - 1):
        with suppress(_WrongPassword):
            return _unlock(wallet, path, find_password(path, None, env, asking), source)
        asking = partial(_ask_again, ask)
    return _unlock(wallet, path, find_password(path, None, env, asking), source)


def _ask_again(ask: Callable[[str], str], prompt: str) -> str:
    return ask(f"That password does not open it. {prompt}")


def _asked(hotkey_path: Path, ask: Callable[[str], str] | None) -> str:
    try:
        return ask(f"Password of {hotkey_path}: ") if ask else ""
    except EOFError:  # Ctrl-D is an answer: none
        return ""


def _source(password_file: Path | None, env: Mapping[str, str]) -> str:
    if password_file is not None:
        return f"check what is in {password_file.expanduser()}"
    return f"check {PASSWORD_VARIABLE}" if env.get(PASSWORD_VARIABLE) else "start again and type it once more"


def _password_from(path: Path) -> str:
    try:
        _check_private(path, path.stat())
        return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise WalletUnusable(f"the password file {path} is not UTF-8 text") from error
    except OSError as error:
        raise WalletUnusable(
            f"the password file {path} cannot be read: {error.strerror}", hint="check bittensor.password_file"
        ) from error


def _unlock(wallet: Any, path: Path, password: str | None, wrong_hint: str) -> Any:
    from bittensor.sp_core import CRYPTO_SR25519, KeyfileError, WrongPasswordError  # noqa: PLC0415

    try:
        keypair = wallet.get_hotkey(password)
        keypair.sign(b"")
    except WrongPasswordError:
        raise _WrongPassword(f"the password does not open {path}", hint=wrong_hint) from None
    except KeyfileError:
        # The library's text may quote the file, hence the secret.
        raise WalletUnusable(
            f"{path} is not a hotkey file", hint="a hotkey file is JSON with secretPhrase or secretSeed, or a phrase"
        ) from None
    except ValueError:
        raise WalletUnusable(
            f"{path} holds only a public key", hint="copy the hotkey file itself, not the one ending in pub.txt"
        ) from None
    except OSError as error:
        raise WalletUnusable(f"{path} cannot be read: {error.strerror}") from error
    if keypair.crypto_type != CRYPTO_SR25519:
        raise WalletUnusable(f"{path} is not an sr25519 key", hint="create the hotkey with btcli's default key type")
    return keypair
