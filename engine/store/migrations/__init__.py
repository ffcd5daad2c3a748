"""Alembic's scripts: one folder per schema, run by ``engine.store.migrate`` when a store opens."""
