"""The SDK's many ways to fail, in the engine's three words."""

from __future__ import annotations

from typing import Any

from engine.errors import BasilicaError, ChainRateLimited, ChainRefused, ChainUnavailable

_HINTS = {
    "not_registered": "Register this hotkey on the subnet first: btcli subnets register --netuid {netuid}.",
    "rate_limited": "The chain limits how often this may be done; wait and try again.",
    "not_authorized": "The hotkey lacks a validator permit or another right on this subnet.",
    "insufficient_balance": "Too little stake or balance for this call; check with btcli wallet balance.",
    "subnet_not_exists": "Check [bittensor] netuid and network.",
    "invalid_argument": "Check the address, the port and the weights that were sent.",
}
_HINTS_BY_NAME = {
    "BadProof": "The wallet's key does not belong to the hotkey that it names; check the wallet.",
    "Payment": "The coldkey cannot pay the fee of this call.",
}
# What the transport says when a connection dies under a submission; nothing else tells that case from a refusal.
_OUTCOME_OPEN = "may already be in the pool"
OUTCOME_OPEN_HINT = "The call may have taken effect; read the chain before the next attempt."
REACH_HINT = "Check the network and [bittensor] chain_endpoint; fallback_endpoints gives the engine alternatives."


def translate_read(error: Exception, *, operation: str, endpoint: str) -> BasilicaError:
    """A failed read is always "unavailable": nothing is known, whatever the reason."""
    import bittensor as bt  # noqa: PLC0415 - the SDK takes most of a second to import

    if isinstance(error, BasilicaError):
        return error
    if isinstance(error, bt.RpcPolicyError):
        return _policy(error, operation, endpoint)
    if isinstance(error, bt.ChainError):
        return ChainUnavailable(
            f"{operation}: {endpoint} answered with an error: {_text(error)}",
            hint="Check [bittensor] network, netuid and chain_endpoint.",
        )
    return ChainUnavailable(f"{operation}: no answer from {endpoint}: {_text(error)}", hint=REACH_HINT)


def translate_write(error: Exception, *, operation: str, endpoint: str, netuid: int) -> BasilicaError:
    """A failed write: refused where the chain or the SDK's checks decided, else unavailable with an open outcome."""
    import bittensor as bt  # noqa: PLC0415 - as above
    from bittensor.sp_core import KeyfileError, WrongPasswordError  # noqa: PLC0415 - as above

    if isinstance(error, bt.ChainError):
        return _refusal(error, operation, endpoint, netuid)
    if isinstance(error, KeyfileError | WrongPasswordError):
        return ChainRefused(f"{operation}: the wallet cannot sign: {_text(error)}", hint="Check the hotkey's file.")
    if isinstance(error, bt.BittensorError) and not isinstance(error, bt.RpcConnectionError | bt.ConnectionNotReady):
        return ChainRefused(f"{operation}: {_text(error)}", hint="The SDK refused the call before sending it.")
    return translate_read(error, operation=operation, endpoint=endpoint)


def _refusal(error: Any, operation: str, endpoint: str, netuid: int) -> BasilicaError:
    code, name = str(error.code.value), error.name
    if _OUTCOME_OPEN in str(error) or (code == "unknown" and not name):
        return ChainUnavailable(
            f"{operation}: no clear answer from {endpoint}: {_text(error)}",
            hint=OUTCOME_OPEN_HINT,
        )
    message = f"{operation}: {name}: {_text(error)}" if name else f"{operation}: {_text(error)}"
    hint = _HINTS_BY_NAME.get(name) or _HINTS.get(code) or str(error.remediation)
    hint = hint.replace("{netuid}", str(netuid))
    return (ChainRateLimited if code == "rate_limited" else ChainRefused)(message, hint=hint)


def _policy(error: Exception, operation: str, endpoint: str) -> ChainUnavailable:
    retry_after = getattr(error, "retry_after", None)
    when = f" It asks to wait {retry_after}." if retry_after else ""
    return ChainUnavailable(
        f"{operation}: {endpoint} refuses this host: {_text(error)}",
        hint=f"Use another chain_endpoint or add fallback_endpoints.{when}",
    )


def _text(error: BaseException) -> str:
    text = " ".join(str(error).split())[:300]
    return text or type(error).__name__
