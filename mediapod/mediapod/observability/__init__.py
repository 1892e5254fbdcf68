"""Metrics, logs and the watchdog of the event loop."""
