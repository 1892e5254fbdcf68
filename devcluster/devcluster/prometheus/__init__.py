"""Prometheus for a local cluster: its scrape configuration and its process."""

from devcluster.prometheus.config import ScrapeSettings, render_config
from devcluster.prometheus.server import Prometheus, PrometheusError

__all__ = ["Prometheus", "PrometheusError", "ScrapeSettings", "render_config"]
