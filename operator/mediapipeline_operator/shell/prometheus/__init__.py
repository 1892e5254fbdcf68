"""Reads all pipelines' measurements from Prometheus. The only place that talks to it."""

from mediapipeline_operator.shell.prometheus.reader import PrometheusReader, ReaderSettings

__all__ = ["PrometheusReader", "ReaderSettings"]
