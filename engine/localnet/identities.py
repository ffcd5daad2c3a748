"""Who takes part in a local subnet: wallets on disk, neurons on the file chain, SSH keys."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from engine.chain.filechain import FileChainAdmin
from engine.errors import ChainRefused
from engine.identity.wallets import create_wallet, open_wallet
from engine.localnet.files import private_directory, write_private

HOTKEY_NAME = "default"
_TOP_STAKE_TAO = 50_000.0


@dataclass(frozen=True, slots=True)
class Member:
    """One neuron and where its wallet lies."""

    name: str
    hotkey: str
    coldkey: str
    wallet_path: Path
    hotkey_name: str = HOTKEY_NAME

    def to_json(self) -> dict[str, object]:
        """The keys that every participant has in localnet.json."""
        return {
            "hotkey": self.hotkey,
            "wallet_path": str(self.wallet_path),
            "wallet_name": self.name,
            "hotkey_name": self.hotkey_name,
        }


def member(wallets: Path, name: str) -> Member:
    """The wallet called ``name``, created unencrypted when it is not there. Raises WalletUnusable."""
    private_directory(wallets)
    exists = (wallets / name / "hotkeys" / HOTKEY_NAME).exists()
    opened = (open_wallet if exists else create_wallet)(wallets, name, HOTKEY_NAME)
    return Member(name, opened.signer.hotkey, opened.coldkey, wallets)


def settle(chain: Path, netuid: int, block_s: float, miner: Member, validators: Sequence[Member]) -> None:
    """Put everybody on the chain: the miner without a permit, validators with one and with falling stakes.

    A chain that is there already keeps its history; stakes and permits are set again. Raises ChainUnavailable.
    """
    admin = FileChainAdmin(chain)
    if not chain.exists():
        # No rate limit on axons: the miner's port may differ at each start.
        admin.create([netuid], block_s, serving_rate_limit=0, weights_rate_limit=0)
    wanted = [(miner, 0.0, False)]
    wanted += [(validator, _TOP_STAKE_TAO / (place + 1), True) for place, validator in enumerate(validators)]
    for person, stake_tao, permit in wanted:
        with contextlib.suppress(ChainRefused):  # registered by an earlier run
            admin.register(netuid, person.hotkey, person.coldkey, stake_tao, permit)
        admin.set_stake(netuid, person.hotkey, stake_tao)
        admin.set_permit(netuid, person.hotkey, permit)


def retire(chain: Path, netuid: int, former: Sequence[Member]) -> None:
    """Take permit and stake from validators of an earlier, larger run, so that they do not outrank the present ones."""
    admin = FileChainAdmin(chain)
    for person in former:
        with contextlib.suppress(ChainRefused):  # never registered
            admin.set_permit(netuid, person.hotkey, False)
            admin.set_stake(netuid, person.hotkey, 0.0)


def ssh_key(path: Path, comment: str) -> str:
    """The public line of the Ed25519 key in ``path`` (OpenSSH form, 0600), made when it is not there."""
    if not path.exists():
        write_private(path, asyncssh.generate_private_key("ssh-ed25519", comment=comment).export_private_key())
    algorithm, blob = asyncssh.read_private_key(path).export_public_key().decode().split()[:2]
    return f"{algorithm} {blob} {comment}"
