"""The validator's REST face: answers about miners, nodes, verifications and the configuration, and who may ask."""

from engine.rest.app import RestParts, rest_app, views_of
from engine.rest.facts import FactGauges
from engine.rest.key_actions import add_key_actions
from engine.rest.keys import ApiKeys

__all__ = ["ApiKeys", "FactGauges", "RestParts", "add_key_actions", "rest_app", "views_of"]
