"""Every error that one room of the engine may raise to another, named after the situation.

Each carries ``code`` (stable, for logs, JSON and tests), ``message`` (what happened, with the object's name)
and ``hint`` (what the operator should do next; may be empty). Library exceptions never leave their room:
they are translated into one of these at its edge.
"""

from __future__ import annotations

from typing import ClassVar


class BasilicaError(Exception):
    """Base of all errors that are meant to be shown to an operator."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UnexpectedFault(BasilicaError):
    """Something failed in a way that this program does not foresee; what it hit is named, the rest goes on."""

    code = "unexpected_fault"


class ConfigInvalid(BasilicaError):
    """The configuration cannot be used; ``problems`` lists every finding, one sentence each.

    ``warnings`` name the keys that have no effect: a misspelt one is often why a value is missing.
    """

    code = "config_invalid"

    def __init__(
        self, message: str, *, hint: str = "", problems: tuple[str, ...] = (), warnings: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems
        self.warnings = warnings


class WalletUnusable(BasilicaError):
    """A wallet file is missing, unreadable, encrypted without a password, or not a hotkey."""

    code = "wallet_unusable"


# --- identity -------------------------------------------------------------------------------------------------


class HotkeyInvalid(BasilicaError):
    """Text that should be an SS58 address is not."""

    code = "hotkey_invalid"


class PublicKeyRefused(BasilicaError):
    """An SSH public key from outside is malformed, weak, or more than a key."""

    code = "public_key_refused"


class CertificateRefused(BasilicaError):
    """An SSH certificate from another engine is not what it should be."""

    code = "certificate_refused"


# --- chain ----------------------------------------------------------------------------------------------------


class ChainUnavailable(BasilicaError):
    """The chain could not be read or reached; nothing is known about its content."""

    code = "chain_unavailable"


class ChainRefused(BasilicaError):
    """The chain answered and refused a call (unregistered hotkey, rate limit, too little stake)."""

    code = "chain_refused"


class ChainRateLimited(ChainRefused):
    """The chain refused a call because it came too soon after the last one."""

    code = "chain_rate_limited"


# --- SSH: one class per step, so that a screen can name the step ----------------------------------------------


class SshFailure(BasilicaError):
    """Something between this host and a command's result on a node failed; ``step`` names where."""

    code = "ssh_failure"
    step: ClassVar[str] = "ssh"


class SshResolveFailed(SshFailure):
    """The host name has no address."""

    code = "ssh_resolve_failed"
    step = "resolve"


class SshRefused(SshFailure):
    """Nothing listens there, or a firewall rejects."""

    code = "ssh_refused"
    step = "tcp"


class SshTimeout(SshFailure):
    """No answer in time; the message says at which step."""

    code = "ssh_timeout"
    step = "tcp"


class SshBannerInvalid(SshFailure):
    """The port answers, but not as an SSH server, or it closes before authentication (MaxStartups, penalties)."""

    code = "ssh_banner_invalid"
    step = "banner"


class SshHostKeyChanged(SshFailure):
    """The node presents another host key than the pinned one. All traffic to it stops until a person accepts."""

    code = "ssh_host_key_changed"
    step = "host_key"

    def __init__(self, message: str, *, hint: str = "", pinned: str = "", presented: str = "") -> None:
        super().__init__(message, hint=hint)
        self.pinned = pinned
        self.presented = presented


class SshAuthFailed(SshFailure):
    """The node does not accept our key for this user."""

    code = "ssh_auth_failed"
    step = "auth"


class SshLoginEnded(SshFailure):
    """The node hung up while it judged the account: PAM refused it, or the line was cut."""

    code = "ssh_login_ended"
    step = "auth"


class SshChannelFailed(SshFailure):
    """Logged in, but no command could be started (MaxSessions, forced command, no shell)."""

    code = "ssh_channel_failed"
    step = "channel"


class SshCommandFailed(SshFailure):
    """A command ran and ended with a status other than 0."""

    code = "ssh_command_failed"
    step = "command"

    def __init__(
        self, message: str, *, hint: str = "", exit_status: int = -1, stderr: str = "", stdout: bytes = b""
    ) -> None:
        super().__init__(message, hint=hint)
        self.exit_status = exit_status
        self.stderr = stderr
        self.stdout = stdout


class SshOutcomeUnknown(SshFailure):
    """The connection died while a command ran: it may or may not have taken effect. Re-read before acting."""

    code = "ssh_outcome_unknown"
    step = "command"


class SshOutputTooLarge(SshFailure):
    """A node sent more than it was asked for; reading was stopped."""

    code = "ssh_output_too_large"
    step = "command"


class KeyFileRefused(BasilicaError):
    """``authorized_keys`` cannot be changed safely; ``reason`` is a stable word, the file is untouched."""

    code = "key_file_refused"

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


# --- store and control ----------------------------------------------------------------------------------------


class StoreUnusable(BasilicaError):
    """The database cannot be opened, is damaged, newer than this program, or full."""

    code = "store_unusable"


class RentalInvalid(BasilicaError):
    """A rental cannot be entered or ended: no such node, rented already, no such rental."""

    code = "rental_invalid"


class RentalUnknown(RentalInvalid):
    """There is no such node, or no such rental that stands."""

    code = "rental_unknown"


class RentalConflict(RentalInvalid):
    """The node is rented, the id is taken, or several miners offer a node of that id."""

    code = "rental_conflict"


class EngineUnreachable(BasilicaError):
    """No engine answers on the control socket."""

    code = "engine_unreachable"


class EngineAlreadyRunning(BasilicaError):
    """Another engine holds this data directory or control socket."""

    code = "engine_already_running"


class ControlRefused(BasilicaError):
    """The engine refused a console's request; ``reason`` is its stable code."""

    code = "control_refused"

    def __init__(self, message: str, *, hint: str = "", reason: str = "refused") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class ProtocolMismatch(ControlRefused):
    """Console and engine share no version of the control protocol."""

    code = "protocol_mismatch"


# --- the network's wire ---------------------------------------------------------------------------------------


class MinerRefused(BasilicaError):
    """A miner answered a validator's call with a refusal; ``status`` is the gRPC status name."""

    code = "miner_refused"

    def __init__(self, message: str, *, hint: str = "", status: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class MinerUnreachable(BasilicaError):
    """A miner's axon does not answer."""

    code = "miner_unreachable"


class MinerUntrusted(BasilicaError):
    """A miner's answer is unsigned, wrongly signed, or signed by another hotkey than the chain names."""

    code = "miner_untrusted"


# --- more SSH situations --------------------------------------------------------------------------------------


class ClientKeyUnusable(BasilicaError):
    """The private SSH key that the engine logs in with is missing, unreadable, encrypted, or open to others."""

    code = "client_key_unusable"


class HostKeysUnusable(SshFailure):
    """The file of pinned host keys cannot be read or written, so no node can be trusted."""

    code = "host_keys_unusable"
    step = "host_key"


class SshBannerTimeout(SshTimeout):
    """The port accepts connections and then says nothing."""

    code = "ssh_banner_timeout"
    step = "banner"


class SshLoginTimeout(SshTimeout):
    """The server introduced itself, but key exchange or authentication did not finish in time."""

    code = "ssh_login_timeout"
    step = "auth"


class SshChannelTimeout(SshTimeout):
    """Logged in, but no channel opened in time: a half-dead link or a stuck node. No command was seen to start."""

    code = "ssh_channel_timeout"
    step = "channel"


class SshCommandTimeout(SshTimeout, SshOutcomeUnknown):
    """A command did not end in time; it may still run or have taken effect."""

    code = "ssh_command_timeout"
    step = "command"


class ProbeFailed(BasilicaError):
    """A question to a node was answered with nothing usable; ``reason`` is a stable word."""

    code = "probe_failed"

    def __init__(self, message: str, *, hint: str = "", reason: str = "unusable") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class WireMalformed(BasilicaError):
    """Bytes from the network are not the message that they should be."""

    code = "wire_malformed"


class PortTaken(BasilicaError):
    """An address that should be served cannot be bound: somebody listens there, or it is not this host's."""

    code = "port_taken"


class RestProcessEnded(BasilicaError):
    """The process that answers REST requests ended, did not start or does not answer the engine."""

    code = "rest_process_ended"


# --- localnet -------------------------------------------------------------------------------------------------


class LocalnetFailed(BasilicaError):
    """A local subnet cannot be set up, or one of its engines did not come up or went away."""

    code = "localnet_failed"


# --- scores and weights ---------------------------------------------------------------------------------------


class ScoresInvalid(BasilicaError):
    """Scores or a weight vector cannot be used; ``problems`` lists every finding, one sentence each."""

    code = "scores_invalid"

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


# --- places on this machine -----------------------------------------------------------------------------------


class ControlSocketUnusable(BasilicaError):
    """The control socket cannot be made safely where it should be; nothing was changed there."""

    code = "control_socket_unusable"


# --- telling and recording ------------------------------------------------------------------------------------


class DeliveryFailed(BasilicaError):
    """A message could not be handed to a receiver; says why, never with the receiver's secrets."""

    code = "delivery_failed"


class AuditUnreadable(BasilicaError):
    """An audit log cannot be read: no such database, no such table, or not a database."""

    code = "audit_unreadable"


# --- backups and imports --------------------------------------------------------------------------------------


class BackupFailed(BasilicaError):
    """A backup cannot be made or restored; what was there before is untouched."""

    code = "backup_failed"


class BackupPassphraseWrong(BackupFailed):
    """The passphrase does not open this backup."""

    code = "backup_passphrase_wrong"


class BackupDamaged(BackupFailed):
    """A backup is truncated, was changed, or is none; nothing was written."""

    code = "backup_damaged"


class ImportFailed(BasilicaError):
    """A deployed miner's set-up cannot be found or read, or must not be overwritten."""

    code = "import_failed"


# --- what others publish about us -----------------------------------------------------------------------------


class ObservationUnavailable(BasilicaError):
    """A validator's metrics or REST API cannot be read, or says nothing that can be used."""

    code = "observation_unavailable"


# --- a store in need ------------------------------------------------------------------------------------------


class StoreStrained(StoreUnusable):
    """The database cannot be used at this moment: no space, locked by another program, a failing disk.

    It may be usable again at the next attempt, so a service that meets it is started again like after any crash.
    """

    code = "store_strained"


# --- verification of nodes ------------------------------------------------------------------------------------


class AttestationRefused(BasilicaError):
    """What a node's attestation program sent cannot be believed; ``reason`` is a stable word."""

    code = "attestation_refused"

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class VerificationFailed(BasilicaError):
    """A step that a node must pass failed; ``step`` names it."""

    code = "verification_failed"

    def __init__(self, message: str, *, step: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.step = step


class NodeBanned(BasilicaError):
    """A node misbehaved too often and is not looked at for a while."""

    code = "node_banned"


class GpuClaimed(BasilicaError):
    """All GPUs that a node shows count for another node."""

    code = "gpu_claimed"


# --- recordings ---------------------------------------------------------------------------------------------------


class RecordingUnreadable(BasilicaError):
    """A file is no recording, is one of a newer format, or is damaged where it was read."""

    code = "recording_unreadable"


class RecordingEmpty(BasilicaError):
    """Nothing is recorded there, or nothing of the time that was asked for."""

    code = "recording_empty"


class RecordingPaused(BasilicaError):
    """What happens cannot be written down now; the engine goes on without."""

    code = "recording_paused"


# --- deployment -----------------------------------------------------------------------------------------------


class ServiceFailed(BasilicaError):
    """A service, its files or its manager could not be changed or asked; the hint says how to go on."""

    code = "service_failed"


# --- repairs --------------------------------------------------------------------------------------------------


class FixFailed(BasilicaError):
    """A step of a fix could not be done; what was done before it is taken back where that is possible."""

    code = "fix_failed"


class RedactionFailed(BasilicaError):
    """Something that was to be shared would still name somebody; it was not written."""

    code = "redaction_failed"


# --- REST -----------------------------------------------------------------------------------------------------


class RequestUnproven(BasilicaError):
    """A signed request does not prove who sent it."""

    code = "request_unproven"


class ApiKeyInvalid(BasilicaError):
    """An API key cannot be made or changed as asked."""

    code = "api_key_invalid"


# --- support --------------------------------------------------------------------------------------------------


class SupportBundleFailed(BasilicaError):
    """The file with what helps to help cannot be written."""

    code = "support_bundle_failed"
