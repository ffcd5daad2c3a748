"""One file with what somebody needs to help: configuration, state, log, recording, diagnosis, without secrets."""
