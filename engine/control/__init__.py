"""The local control socket: snapshot, watch, act. What every console and every ``show`` command reads."""
