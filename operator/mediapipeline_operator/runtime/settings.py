"""The operator's settings: command-line flags, or the environment with the prefix MEDIAPIPELINE_OPERATOR_."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict

from mediapipeline_operator.core.resources import BuildSettings
from mediapipeline_operator.shell.lease import LeaseSettings
from mediapipeline_operator.shell.prometheus import ReaderSettings


class Settings(BaseSettings):
    """Read once at start. Lists are separated by commas."""

    model_config = SettingsConfigDict(
        env_prefix="MEDIAPIPELINE_OPERATOR_",
        frozen=True,
        extra="ignore",
        cli_kebab_case=True,
        cli_prog_name="mediapipeline-operator",
        cli_hide_none_type=True,
    )

    prometheus_url: str = Field(default="", description="Base URL of Prometheus; empty: hold, never scale blindly.")
    prometheus_token_file: str = Field(default="", description="File with a bearer token for Prometheus.")
    prometheus_ca_file: str = Field(default="", description="CA certificates for Prometheus.")
    prometheus_headers: str = Field(
        default="",
        description="Headers of requests to Prometheus, as name=value,name=value: for example X-Scope-OrgID=media for "
        "Mimir. They are in ScaledObjects too, so nothing secret belongs here.",
    )
    keda_trigger_authentication: str = Field(
        default="",
        description="ClusterTriggerAuthentication whose parameter bearerToken KEDA shows to Prometheus; empty: none.",
    )
    mediapod_image: str = Field(
        default="ghcr.io/rtcscale/mediapod:0.1.0", min_length=1, description="Image of pipelines that name none."
    )
    namespaces: str = Field(default="", description="Namespaces to look after; empty: all.")
    service_monitor_labels: str = Field(
        default="",
        description="Labels of ServiceMonitors, as key=value,key=value: what the cluster's Prometheus selects.",
    )
    monitoring_namespace: str = Field(default="monitoring", description="Namespace that may scrape the pods.")
    log_format: Literal["json", "text"] = Field(
        default="json", description="One JSON object or one text line a record."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")
    tick_seconds: float = Field(default=10.0, ge=0.5, le=60.0, description="Time between two scaling ticks.")
    measurements_every_seconds: float = Field(
        default=60.0,
        ge=1.0,
        le=600.0,
        description="How often a status is written for new measurements alone; changes are written at once.",
    )
    workers: int = Field(default=8, ge=1, le=64, description="Pipelines that are worked on at a time.")
    request_timeout_seconds: float = Field(default=5.0, ge=1.0, le=30.0, description="Limit of one API request.")
    resync_seconds: float = Field(
        default=900.0,
        ge=2.0,
        le=86400.0,
        description="Everything is listed again after this time, whatever the watches say.",
    )
    max_concurrent_rollouts: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Pipelines that roll out at a time when the operator, and not a spec, changes their pods.",
    )
    lease_namespace: str = Field(default="", description="Namespace of the Lease; empty: the operator's own.")
    lease_name: str = Field(default="mediapipeline-operator", description="Name of the Lease.")
    lease_duration_seconds: float = Field(
        default=12.0, ge=6.0, le=120.0, description="How long a dead leader leads on."
    )
    bind_address: str = Field(default="", description="Address of the health server; empty: POD_IP, else all.")
    health_port: int = Field(default=8081, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics.")

    @field_validator("service_monitor_labels", "prometheus_headers")
    @classmethod
    def _are_pairs(cls, value: str) -> str:
        bad = [item for item in _split(value) if "=" not in item]
        if bad:
            raise ValueError(f"{bad[0]!r} is no pair; write key=value,key=value")
        return value

    @field_validator("lease_duration_seconds")
    @classmethod
    def _whole_seconds(cls, value: float) -> float:
        return float(round(value))

    def model_post_init(self, context: object) -> None:
        """A write must be able to end within the lease."""
        if self.request_timeout_seconds >= self.lease_duration_seconds:
            raise ValueError("request_timeout_seconds must be shorter than lease_duration_seconds")

    @property
    def watched_namespaces(self) -> tuple[str, ...]:
        """The namespaces to look after; empty: all."""
        return _split(self.namespaces)

    @property
    def own_namespace(self) -> str:
        """The namespace that the operator runs in."""
        return os.environ.get("POD_NAMESPACE") or "mediapipeline-system"

    @property
    def listen_address(self) -> str | None:
        """Address of the health server; None: all."""
        return self.bind_address or os.environ.get("POD_IP") or None

    def build(self) -> BuildSettings:
        """What shows in manifests."""
        return BuildSettings(
            mediapod_image=self.mediapod_image,
            service_monitor_labels=_pairs(self.service_monitor_labels),
            operator_namespace=self.own_namespace,
            monitoring_namespace=self.monitoring_namespace,
            prometheus_url=self.prometheus_url,
            prometheus_headers=_pairs(self.prometheus_headers),
            keda_trigger_authentication=self.keda_trigger_authentication,
        )

    def prometheus(self) -> ReaderSettings:
        """How measurements are read."""
        return ReaderSettings(
            url=self.prometheus_url,
            token_file=self.prometheus_token_file,
            ca_file=self.prometheus_ca_file,
            headers=_pairs(self.prometheus_headers),
        )

    def lease(self) -> LeaseSettings:
        """A new identity for each process: a restarted pod is another candidate."""
        host = os.environ.get("POD_NAME") or socket.gethostname()
        return LeaseSettings(
            namespace=self.lease_namespace or self.own_namespace,
            name=self.lease_name,
            identity=f"{host}_{uuid.uuid4().hex[:8]}",
            duration_seconds=self.lease_duration_seconds,
            renew_seconds=self.lease_duration_seconds / 6,
        )


def load_settings(arguments: Sequence[str]) -> Settings:
    """Flags win over the environment. Exits with usage for an unknown flag; raises ValidationError for a bad value."""
    return CliApp.run(Settings, cli_args=list(arguments))


def _pairs(value: str) -> Mapping[str, str]:
    return {key.strip(): text.strip() for key, _, text in (item.partition("=") for item in _split(value))}


def _split(value: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in value.split(",") if item.strip())
