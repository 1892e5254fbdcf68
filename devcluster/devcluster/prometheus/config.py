"""The scrape configuration (pure): every pod of a pipeline, found through the API server, one series a pod.

The labels `namespace`, `pod` and `pipeline` are those that the ServiceMonitor of the operator gives; Prometheus adds
`job` and `instance` to any series. Pods are discovered and not endpoints, because there are no EndpointSlices here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

JOB = "mediapods"
PIPELINE_LABEL = "__meta_kubernetes_pod_label_media_rtcscale_dev_pipeline"
ADMIN_PORT_NAME = "admin"
# Kubernetes' own default; a longer one would hide that a slow target misses its interval
MAX_SCRAPE_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class ScrapeSettings:
    """What a configuration depends on; `token_file` holds a token that may list pods."""

    server_url: str
    ca_file: Path
    token_file: Path
    scrape_interval_seconds: float = 5.0


def render_config(settings: ScrapeSettings) -> str:
    """Prometheus' configuration file.

    Raises:
        ValueError: the interval is not positive.
    """
    if settings.scrape_interval_seconds <= 0:
        raise ValueError(f"scrape_interval_seconds is {settings.scrape_interval_seconds}; it must be positive")
    interval = _duration(settings.scrape_interval_seconds)
    timeout = _duration(min(settings.scrape_interval_seconds, MAX_SCRAPE_TIMEOUT_SECONDS))
    content = {
        "global": {"scrape_interval": interval, "scrape_timeout": timeout, "evaluation_interval": interval},
        "scrape_configs": [
            {
                "job_name": JOB,
                "kubernetes_sd_configs": [_discovery(settings)],
                "relabel_configs": relabelling(),
            }
        ],
    }
    return yaml.safe_dump(content, sort_keys=False)


def relabelling() -> list[dict[str, Any]]:
    """Keeps the `admin` port of live pods that belong to a pipeline, and names their series."""
    return [
        _keep(PIPELINE_LABEL, ".+"),
        _keep("__meta_kubernetes_pod_container_port_name", ADMIN_PORT_NAME),
        # sidecars are init containers, too; a port called admin of theirs is not the mediapod's
        _keep("__meta_kubernetes_pod_container_init", "false"),
        _keep("__meta_kubernetes_pod_phase", "Pending|Running"),
        _copy("__meta_kubernetes_namespace", "namespace"),
        _copy("__meta_kubernetes_pod_name", "pod"),
        _copy(PIPELINE_LABEL, "pipeline"),
    ]


def _discovery(settings: ScrapeSettings) -> dict[str, Any]:
    return {
        "role": "pod",
        "api_server": settings.server_url,
        "authorization": {"type": "Bearer", "credentials_file": str(settings.token_file)},
        "tls_config": {"ca_file": str(settings.ca_file)},
    }


def _keep(source: str, pattern: str) -> dict[str, Any]:
    return {"source_labels": [source], "action": "keep", "regex": pattern}


def _copy(source: str, target: str) -> dict[str, Any]:
    return {"source_labels": [source], "action": "replace", "target_label": target}


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
