"""Keys that files of deployed programs may hold and that do nothing here, by role.

A section's own name stands for the whole of it. ``OLDER`` were dropped by the deployed programs themselves;
``IDLE`` they still read or accept, but nothing here depends on them.
"""

from __future__ import annotations

from typing import Literal

Role = Literal["miner", "validator"]


def _in(section: str, keys: str) -> frozenset[str]:
    return frozenset(f"{section}.{key}" for key in keys.split())


_LOG_FILES = _in("logging", "stdout file max_file_size max_files targets output")
_CHAIN_POOL = _in(
    "bittensor",
    "weight_interval_secs connection_pool_size health_check_interval circuit_breaker_threshold "
    "circuit_breaker_recovery coldkey_name max_weight_uids",
)
_DATABASE_POOL = _in("database", "idle_timeout max_lifetime ssl_config")

OLDER: dict[Role, frozenset[str]] = {
    "miner": frozenset({"server", "executor_management", "remote_executor_deployment", "bidding", "bid_grpc_port"})
    | _LOG_FILES
    | _in("bittensor", "skip_registration")
    | _in(
        "validator_comms",
        "auth rate_limit max_concurrent_sessions validator_bid_endpoint connection_timeout advertised_host "
        "advertised_port",
    )
    | _in("node_management", "connection_timeout")
    | _in(
        "security",
        "enable_mtls ca_cert_path client_cert_path client_key_path server_cert_path server_key_path cert_path key_path "
        "jwt_secret token_expiration allowed_validators",
    )
    | _in(
        "ssh_session",
        "miner_executor_key_path default_executor_username session_cleanup_interval max_sessions_per_validator "
        "session_rate_limit max_concurrent_sessions enable_audit_log audit_log_path enable_automated_sessions "
        "max_session_duration ssh_connection_timeout ssh_command_timeout enable_session_expiration enable_key_cleanup "
        "key_cleanup_interval rate_limit_window ssh_retry_attempts ssh_retry_delay",
    )
    | _in("validator_assignment", "grpc_endpoint_override"),
    "validator": frozenset({"ssh_validation", "collateral"})
    | _in("scoring", "gpu cpu memory storage network ssh binary weights thresholds")
    | _LOG_FILES
    | _in("verification", "netuid collateral_event_scan_interval")
    | _in("api", "miner_port enabled swagger cors rate_limit"),
}

IDLE: dict[Role, frozenset[str]] = {
    "miner": _CHAIN_POOL | _DATABASE_POOL,
    "validator": frozenset(
        {
            "automatic_verification",
            "bidding",
            "pricing",
            "bid_grpc",
            "api_endpoint",
            "cu_generator_enabled",
            "slash_mode",
            "billing",
            "extra_mount",
        }
    )
    | _CHAIN_POOL
    | _DATABASE_POOL
    | _in("server", "max_connections request_timeout keep_alive_timeout tls_enabled tls_config")
    | _in("verification", "challenge_timeout fallback_to_static enable_worker_queue node_groups")
    | _in("verification.binary_validation", "output_format node_port server_mode")
    | _in(
        "ssh_session",
        "key_cleanup_interval enable_automated_sessions enable_audit_logging audit_log_path strict_host_key_checking "
        "known_hosts_file",
    )
    | _in("emission", "forced_burn_percentage")
    | _in("cleanup", "availability_retention_days stale_node_cleanup_cadence_minutes"),
}
