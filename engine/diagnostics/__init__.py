"""Checks and fixes: one library for the setup wizard, the SSH check, ``doctor``, alerts and the *Fix first* list.

``doctor.Doctor(patient).examine()`` looks and judges; ``plan_fix`` makes a plan for a finding, which is shown before
``fixing`` runs it. Everything here works without a running engine. Nothing is imported here: a running miner needs one
of the looks only.
"""
