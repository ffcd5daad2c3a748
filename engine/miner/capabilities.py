"""What a node is worth for grants: rules over what was measured and what its canary showed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from engine.errors import BasilicaError, KeyFileRefused
from engine.ssh.canary import Verdict
from engine.ssh.capability import NodeCapability
from engine.ssh.target import NodeTarget, RootFile
from engine.store.records import Grant

Enforced = Literal["proved", "assumed", "removal only"]
SkewLevel = Literal["ok", "warning", "refused"]

SKEW_WARNING_S = 5.0
SKEW_REFUSED_S = 300.0
LASTING = frozenset({Verdict.PROVED, Verdict.OPENS, Verdict.NOT_ENFORCED})
"""Verdicts that hold until the node's sshd changes; the others are asked for again."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A node that grants can rely on, or the reason why no new key is deployed there. Removal always works."""

    capability: NodeCapability
    enforced: Enforced
    refusal: KeyFileRefused | None = None
    can_certify: bool = False
    """Whether a certificate of an authority in the key file was proved to open it."""

    @property
    def can_wrap(self) -> bool:
        """Whether the node has what the forced command needs."""
        return "timeout" in self.capability.tools


class CapabilitySource(Protocol):
    """Answers from memory where it can."""

    def knows(self, node_id: str) -> bool:
        """Whether the node was got to know already, so that asking sends no canary as long as it stays the same."""

    async def enrolled(self, target: NodeTarget, root: RootFile | None = None) -> Enrolled:
        """For ``root``, or the account's own file. Raises SshFailure, and KeyFileRefused when the canary's lines could
        not be written."""


def skew_level(skew_s: float) -> SkewLevel:
    """How wrong a clock is: sshd judges expiry by it."""
    if abs(skew_s) > SKEW_REFUSED_S:
        return "refused"
    return "warning" if abs(skew_s) > SKEW_WARNING_S else "ok"


def judge(
    target: NodeTarget,
    capability: NodeCapability,
    verdict: Verdict,
    root: RootFile | None = None,
    *,
    can_certify: bool = False,
) -> Enrolled:
    """What the canary's verdict and the clock mean for key lines."""
    form = "none" if verdict is Verdict.NOT_ENFORCED else capability.expiry_form
    enforced: Enforced = "assumed"
    if form == "none":
        enforced = "removal only"
    elif verdict is Verdict.PROVED:
        enforced = "proved"
    refusal = _refusal(target, capability, verdict, root)
    # The line must end by itself as a key's does: an authority that outlives its miner would be the worst of keys.
    return Enrolled(replace(capability, expiry_form=form), enforced, refusal, can_certify and enforced == "proved")


def split_rows(rows: Sequence[Grant], now: float, refusal: BasilicaError | None) -> tuple[list[Grant], list[Grant]]:
    """Rows to put on the node and rows to take off it. What is refused is neither: a line that stands, stands."""
    wanted = [] if refusal is not None else [row for row in rows if row.is_wanted(now)]
    return wanted, [row for row in rows if not row.is_wanted(now)]


def _refusal(
    target: NodeTarget, capability: NodeCapability, verdict: Verdict, root: RootFile | None
) -> KeyFileRefused | None:
    if verdict is Verdict.NOT_READ and root is not None:
        return KeyFileRefused(
            f"a good key in {root.path} does not open {target.label}",
            reason="other_key_file",
            hint="set it up again: basilica-tui keys protect; or go back: basilica-tui keys protect --undo",
        )
    if verdict is Verdict.NOT_READ:
        files = " ".join(capability.configured_key_files)
        named = f" (AuthorizedKeysFile {files})" if files and not capability.has_default_key_file else ""
        return KeyFileRefused(
            f"a good key in ~/.ssh/authorized_keys does not open {target.label}{named}",
            reason="other_key_file",
            hint="let sshd read .ssh/authorized_keys there: see AuthorizedKeysFile in its configuration",
        )
    if skew_level(capability.clock_skew_s) == "refused":
        return KeyFileRefused(
            f"the clock of {target.label} is {capability.clock_skew_s:+.0f} s off",
            reason="clock_skew",
            hint="set the node's clock (timedatectl set-ntp true); keys are still removed there",
        )
    return None
