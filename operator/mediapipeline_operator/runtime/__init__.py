"""Wiring: kopf handlers that only enqueue keys, the work queue, the reconciler, the scaler's tick, settings,
logs, metrics, health.
"""
