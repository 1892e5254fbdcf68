"""The scrape configuration, word for word: the labels of a pipeline's series are a contract with the operator."""

from pathlib import Path

import pytest

from devcluster.prometheus import ScrapeSettings, render_config

GOLDEN = """\
global:
  scrape_interval: 2000ms
  scrape_timeout: 2000ms
  evaluation_interval: 2000ms
scrape_configs:
- job_name: mediapods
  kubernetes_sd_configs:
  - role: pod
    api_server: https://127.0.0.1:20000
    authorization:
      type: Bearer
      credentials_file: /data/prometheus.token
    tls_config:
      ca_file: /data/pki/ca.crt
  relabel_configs:
  - source_labels:
    - __meta_kubernetes_pod_label_media_rtcscale_dev_pipeline
    action: keep
    regex: .+
  - source_labels:
    - __meta_kubernetes_pod_container_port_name
    action: keep
    regex: admin
  - source_labels:
    - __meta_kubernetes_pod_container_init
    action: keep
    regex: 'false'
  - source_labels:
    - __meta_kubernetes_pod_phase
    action: keep
    regex: Pending|Running
  - source_labels:
    - __meta_kubernetes_namespace
    action: replace
    target_label: namespace
  - source_labels:
    - __meta_kubernetes_pod_name
    action: replace
    target_label: pod
  - source_labels:
    - __meta_kubernetes_pod_label_media_rtcscale_dev_pipeline
    action: replace
    target_label: pipeline
"""


def _settings(interval_seconds: float) -> ScrapeSettings:
    return ScrapeSettings(
        "https://127.0.0.1:20000", Path("/data/pki/ca.crt"), Path("/data/prometheus.token"), interval_seconds
    )


def test_the_configuration_is_the_agreed_one() -> None:
    assert render_config(_settings(2)) == GOLDEN


@pytest.mark.parametrize(("seconds", "interval", "timeout"), [(1, 1000, 1000), (0.5, 500, 500), (30, 30000, 10000)])
def test_a_scrape_never_outlasts_its_interval(seconds: float, interval: int, timeout: int) -> None:
    text = render_config(_settings(seconds))
    assert f"scrape_interval: {interval}ms" in text
    assert f"scrape_timeout: {timeout}ms" in text


def test_an_interval_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="scrape_interval_seconds is 0"):
        render_config(_settings(0))
