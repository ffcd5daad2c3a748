"""Revisions of the event log, oldest first."""
