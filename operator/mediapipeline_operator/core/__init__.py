"""Pure decisions: no I/O, no clock, no randomness, no kopf, kubernetes, asyncio or logging. Time is an argument."""
