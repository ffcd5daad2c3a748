"""The validator's REST face: read-only answers about miners, nodes, verifications and the configuration."""

from engine.rest.app import RestParts, rest_app

__all__ = ["RestParts", "rest_app"]
