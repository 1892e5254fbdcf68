"""Autoscalers' servers of metrics as local processes: the Prometheus Adapter, and KEDA."""

from devcluster.autoscalers.keda import Keda
from devcluster.autoscalers.prometheus_adapter import PrometheusAdapter
from devcluster.autoscalers.registration import AutoscalerError

__all__ = ["AutoscalerError", "Keda", "PrometheusAdapter"]
