"""Checks of the wallet: is the hotkey there, is it ours to read, is it what it should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, warn
from engine.identity import ss58

KeyFormat = Literal["", "json", "phrase_or_seed", "encrypted", "public", "other"]


@dataclass(frozen=True, slots=True)
class WalletFacts:
    """What lies where the configuration points."""

    directory: str
    name: str
    hotkey_name: str
    directory_exists: bool = True
    wallet_exists: bool = True
    hotkey_exists: bool = True
    wallets: tuple[str, ...] = ()
    """Names of the wallets that are there."""
    hotkeys: tuple[str, ...] = ()
    trouble: str = ""
    """Why it could not be looked at."""
    is_file: bool = True
    is_readable: bool = True
    mode: int = 0o600
    owner_uid: int = 0
    own_uid: int = 0
    format: KeyFormat = ""
    has_password: bool = False
    """Whether a password's source is configured."""
    open_error: str = ""
    hotkey: str = ""
    """SS58 address, once it could be opened."""
    coldkey_is_here: bool = False

    @property
    def path(self) -> str:
        """The hotkey's file."""
        return f"{self.directory}/{self.name}/hotkeys/{self.hotkey_name}"


def judge_names(facts: WalletFacts) -> Judgement:
    """Names, not addresses."""
    for key, value, known in (
        ("wallet_name", facts.name, facts.wallets),
        ("hotkey_name", facts.hotkey_name, facts.hotkeys),
    ):
        if ss58.is_address(value):
            said = f"bittensor.{key} is {value}, an SS58 address"
            return fail("address", said, f"there are: {', '.join(known[:8]) or 'none'}", key=key, only=_only(known))
    return ok(f"wallet {facts.name}, hotkey {facts.hotkey_name}")


def judge_files(facts: WalletFacts) -> Judgement:
    """The hotkey's file exists."""
    if facts.trouble:
        return fail("unreachable", facts.trouble)
    if not facts.directory_exists:
        return fail("no_directory", f"{facts.directory} does not exist")
    if not facts.wallet_exists:
        known = ", ".join(facts.wallets[:8]) or "none"
        return fail(
            "no_wallet",
            f"{facts.directory}/{facts.name} does not exist; wallets there: {known}",
            key="wallet_name",
            only=_only(facts.wallets),
        )
    if not facts.hotkey_exists:
        known = ", ".join(facts.hotkeys[:8]) or "none"
        return fail(
            "no_hotkey",
            f"{facts.path} does not exist; hotkeys there: {known}",
            key="hotkey_name",
            only=_only(facts.hotkeys),
        )
    if not facts.is_file:
        return fail("not_a_file", f"{facts.path} is not a regular file")
    return ok(facts.path)


def judge_access(facts: WalletFacts) -> Judgement:
    """Readable by us, and by nobody else."""
    if not facts.is_readable:
        if facts.owner_uid == facts.own_uid:
            return fail("closed", f"{facts.path} has mode {facts.mode:04o}", path=facts.path)
        said = f"{facts.path} belongs to uid {facts.owner_uid}, we are {facts.own_uid}"
        return fail("unreadable", said, path=facts.path, owner=str(facts.owner_uid), own=str(facts.own_uid))
    if facts.mode & 0o077:
        return fail("open_to_others", f"{facts.path} has mode {facts.mode:04o}", path=facts.path)
    return ok(f"mode {facts.mode:04o}")


def judge_key(facts: WalletFacts) -> Judgement:
    """It is a hotkey that can be opened."""
    if facts.format == "encrypted" and not facts.has_password:
        return fail("no_password", f"{facts.path} is encrypted")
    if facts.format == "encrypted" and facts.open_error:
        return fail("wrong_password", facts.open_error)
    if facts.format == "public":
        return fail("public", f"{facts.path} holds a public key only")
    if facts.open_error:
        return fail("not_a_key", facts.open_error)
    return ok(f"{_FORMATS[facts.format]}, {facts.hotkey}")


def judge_coldkey(facts: WalletFacts) -> Judgement:
    """A coldkey has no place on a server."""
    if facts.coldkey_is_here:
        return warn("here", f"{facts.directory}/{facts.name}/coldkey is on this host")
    return ok("no coldkey on this host")


_FORMATS = {
    "": "a key",
    "json": "JSON",
    "phrase_or_seed": "a raw seed or phrase",
    "encrypted": "encrypted, and the password opens it",
    "public": "public",
    "other": "a key",
}


def _only(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else ""


def _check(
    name: str,
    title: str,
    meaning: str,
    judge: Callable[[WalletFacts], Judgement],
    needs: tuple[str, ...],
    *causes: Cause,
) -> Check[WalletFacts]:
    return Check(f"wallet.{name}", Scope.WALLET, title, meaning, judge, causes, needs)


CHECKS: tuple[Check[WalletFacts], ...] = (
    _check(
        "names",
        "Wallet and hotkey are named",
        "the engine looks for files of these names",
        judge_names,
        (),
        Cause(
            "address",
            "an SS58 address stands where a name belongs",
            ("config.wallet_name",),
            advice="give the name of the folder and of the file",
        ),
    ),
    _check(
        "files",
        "The hotkey's file is there",
        "without it the engine does not start",
        judge_files,
        ("wallet.names",),
        Cause(
            "unreachable",
            "a directory on the way is closed to this user",
            advice="run as the wallet's owner, or give the service a read-only bind of it",
        ),
        Cause(
            "no_directory", "there is no directory of wallets", advice="set bittensor.wallet_path, or create a wallet"
        ),
        Cause("no_wallet", "the wallet has another name", ("config.wallet_name",), advice="set bittensor.wallet_name"),
        Cause(
            "no_hotkey",
            "the hotkey has another name, or was not copied to this host",
            ("config.wallet_name",),
            advice="copy the hotkey's file here; the coldkey stays at home",
        ),
        Cause("not_a_file", "something else has the file's name", advice="set bittensor.hotkey_name to a file's name"),
    ),
    _check(
        "access",
        "Only this user can read the hotkey",
        "who reads it can act as this miner",
        judge_access,
        ("wallet.files",),
        Cause(
            "unreadable",
            "the file belongs to another user",
            ("wallet.own",),
            advice="run the engine as the file's owner",
        ),
        Cause("closed", "the file's mode keeps even its owner out", ("wallet.chmod",)),
        Cause("open_to_others", "the file's mode lets others in", ("wallet.chmod",)),
    ),
    _check(
        "key",
        "The hotkey can be opened",
        "the engine signs with it",
        judge_key,
        ("wallet.access",),
        Cause(
            "no_password",
            "it is encrypted, and no password's source is configured",
            advice="set bittensor.password_file to a file with mode 600, or BASILICA_WALLET_PASSWORD",
        ),
        Cause("wrong_password", "the configured password does not open it", advice="correct the password's file"),
        Cause("public", "it is the file ending in pub.txt, or a copy of it", advice="copy the hotkey's file itself"),
        Cause(
            "not_a_key", "its content is no hotkey", advice="copy the file again; make it with btcli wallet new_hotkey"
        ),
    ),
    _check(
        "coldkey",
        "The coldkey is elsewhere",
        "who breaks into this host gets the coins too",
        judge_coldkey,
        ("wallet.files",),
        Cause(
            "here",
            "the coldkey lies beside the hotkey",
            advice="move it to a machine of yours; the engine never needs it",
        ),
    ),
)
