"""Sessions: the state machine, its timers, admission, the registry and draining."""
