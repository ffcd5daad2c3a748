"""Revisions of the state tables, oldest first."""
