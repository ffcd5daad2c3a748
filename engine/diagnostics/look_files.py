"""Looking at the configuration's file and at the wallet. Blocking; called in a thread."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

from engine.config.common import RoleConfig
from engine.config.toml_file import read_toml
from engine.diagnostics.config_checks import ConfigFacts
from engine.diagnostics.patient import Patient
from engine.diagnostics.wallet_checks import KeyFormat, WalletFacts
from engine.errors import ConfigInvalid, WalletUnusable
from engine.identity import ss58
from engine.identity.wallets import PASSWORD_VARIABLE, open_wallet

_LARGEST = 64 * 1024
_ENCRYPTED = (b"$NACL", b"$ANSIBLE_VAULT", b"gAAAAA")


def look_at_config(patient: Patient) -> ConfigFacts:
    """The file behind a configuration."""
    path, config = patient.path, patient.config
    facts = ConfigFacts(config, problems=patient.problems, warnings=patient.warnings)
    if path is None:
        return facts
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        mode = None
    return ConfigFacts(
        config,
        str(path),
        exists=mode is not None,
        is_readable=mode is None or os.access(path, os.R_OK),
        mode=mode,
        has_secrets=config is not None and _has_secrets(config),
        read_error=patient.read_error,
        problems=patient.problems,
        warnings=patient.warnings,
        backups=_backups(path) if patient.read_error else (),
    )


def look_at_wallet(config: RoleConfig, *, can_open: bool = True) -> WalletFacts:
    """The hotkey's file, and whether it opens. ``can_open`` False leaves the half second of the SDK out."""
    section = config.bittensor
    directory = section.wallet_path.expanduser()
    name, hotkey_name = section.wallet_name, section.hotkey_name
    has_password = section.password_file is not None or bool(os.environ.get(PASSWORD_VARIABLE))
    known = WalletFacts(str(directory), name, hotkey_name)
    wallets = _names(directory)
    if ss58.is_address(name) or ss58.is_address(hotkey_name):
        hotkeys = () if ss58.is_address(name) else _names(directory / name / "hotkeys")
        return replace(known, wallets=wallets, hotkeys=hotkeys)
    wallet, hotkeys = directory / name, _names(directory / name / "hotkeys")
    path = wallet / "hotkeys" / hotkey_name
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return replace(
            known,
            directory_exists=directory.is_dir(),
            wallet_exists=wallet.is_dir(),
            hotkey_exists=False,
            wallets=wallets,
            hotkeys=hotkeys,
        )
    except OSError as error:
        return replace(known, trouble=f"{path} cannot be reached: {error.strerror}")
    is_file, is_readable = stat.S_ISREG(found.st_mode), os.access(path, os.R_OK)
    key_format: KeyFormat = _format(path) if is_file and is_readable and found.st_size <= _LARGEST else ""
    hotkey, trouble = "", ""
    can_try = is_file and is_readable and (key_format != "encrypted" or has_password)
    if can_open and can_try and key_format != "public" and not found.st_mode & 0o077:
        hotkey, trouble = _open(section.wallet_path, name, hotkey_name, section.password_file)
    return replace(
        known,
        wallets=wallets,
        hotkeys=hotkeys,
        is_file=is_file,
        is_readable=is_readable,
        mode=stat.S_IMODE(found.st_mode),
        owner_uid=found.st_uid,
        own_uid=os.geteuid(),
        format=key_format,
        has_password=has_password,
        open_error=trouble,
        hotkey=hotkey,
        coldkey_is_here=(wallet / "coldkey").is_file(),
    )


def _open(directory: Path, name: str, hotkey_name: str, password_file: Path | None) -> tuple[str, str]:
    try:
        return open_wallet(directory, name, hotkey_name, password_file=password_file).signer.hotkey, ""
    except WalletUnusable as error:
        return "", error.message


def _format(path: Path) -> KeyFormat:
    try:
        data = path.read_bytes()[:_LARGEST].strip()
    except OSError:
        return ""
    if data.startswith(_ENCRYPTED):
        return "encrypted"
    if data.startswith(b"{"):
        return "json" if b"secret" in data else "public"
    words = data.split()
    if len(words) == 1 and ss58.is_address(words[0].decode("ascii", "replace")):
        return "public"
    return "phrase_or_seed" if words and len(words) in {1, 12, 15, 18, 21, 24} else "other"


def _names(folder: Path) -> tuple[str, ...]:
    try:
        names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return ()
    return tuple(name for name in names if not name.endswith("pub.txt"))


def _has_secrets(config: RoleConfig) -> bool:
    return bool(config.alerts.urls) or "@" in config.database.url


def _backups(path: Path) -> tuple[str, ...]:
    good = []
    for copy in sorted(path.parent.glob(f"{path.name}.bak-*"), reverse=True)[:10]:
        try:
            read_toml(copy)
        except ConfigInvalid:
            continue
        good.append(str(copy))
    return tuple(good)
