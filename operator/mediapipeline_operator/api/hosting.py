"""Part of the spec: how the pods are placed, rolled out, watched and reached. Most of it is passed on to Kubernetes."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from mediapipeline_operator.api.model import Annotations, ApiModel, Json, Labels, kubernetes_part

# A number of pods or a share of them ("25%").
Share = Annotated[int, Field(ge=0, le=1000)] | Annotated[str, Field(pattern=r"^(100|[0-9]{1,2})%$", max_length=4)]

# An IP address, roughly; the mediapod checks it exactly.
Address = Annotated[str, Field(pattern=r"^[0-9A-Fa-f:.]+$", min_length=2, max_length=45)]

# turn:host:port?transport=udp or turns:host:port?transport=tcp (RFC 7065); TURN over DTLS is not spoken.
_TURN_HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?)(:[1-9][0-9]{0,4})?"
TurnUri = Annotated[
    str,
    Field(
        pattern=rf"^(turn:{_TURN_HOST}(\?transport=(udp|tcp))?|turns:{_TURN_HOST}(\?transport=tcp)?)$",
        max_length=280,
    ),
]


class Scheduling(ApiModel):
    """Where the pods may run: passed on to the pod template."""

    node_selector: Labels = Field(default_factory=dict, max_length=32, description="Labels that a node must have.")
    tolerations: tuple[Json, ...] = Field(
        default=(),
        max_length=32,
        description="Tolerations of the pods; with device GPU one for the taint nvidia.com/gpu is added.",
        json_schema_extra=kubernetes_part("tolerations"),
    )
    affinity: Json = Field(
        default_factory=dict, description="Affinity of the pods.", json_schema_extra=kubernetes_part("affinity")
    )
    topology_spread_constraints: tuple[Json, ...] = Field(
        default=(),
        max_length=8,
        description="Spread of the pods; without it they spread over nodes and zones where possible.",
        json_schema_extra=kubernetes_part("topologySpreadConstraints"),
    )
    priority_class_name: str = Field(default="", max_length=253, description="PriorityClass of the pods.")
    runtime_class_name: str = Field(
        default="", max_length=253, description="RuntimeClass of the pods, for example nvidia."
    )


class Rollout(ApiModel):
    """The Deployment's rolling update."""

    max_surge: Share = Field(
        default=1, description="Pods above the number of replicas during a rollout; a number or a percentage."
    )
    max_unavailable: Share = Field(
        default=0, description="Pods below the number of replicas during a rollout; a number or a percentage."
    )


class ServiceMonitorSpec(ApiModel):
    enabled: bool = Field(default=True, description="Whether a ServiceMonitor is made.")
    labels: Labels = Field(
        default_factory=dict,
        max_length=32,
        description="Labels by which the cluster's Prometheus selects it; default: a setting of the operator.",
    )


class Monitoring(ApiModel):
    """How Prometheus finds and scrapes the pods."""

    service_monitor: ServiceMonitorSpec = Field(default_factory=ServiceMonitorSpec, description="The ServiceMonitor.")
    interval_seconds: int = Field(
        default=5, ge=1, le=60, description="Scrape interval, also what is expected of a foreign scrape configuration."
    )


class ServiceSpec(ApiModel):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="Type of the signalling Service."
    )
    annotations: Annotations = Field(
        default_factory=dict, max_length=32, description="Annotations of the signalling Service."
    )


class IngressSpec(ApiModel):
    host: str = Field(min_length=1, max_length=253, description="Host name of the Ingress.")
    class_name: str = Field(default="", max_length=253, description="IngressClass; empty: the cluster's default.")
    tls_secret_name: str = Field(
        default="", max_length=253, description="Secret with the certificate; empty: no TLS section."
    )
    annotations: Annotations = Field(
        default_factory=dict,
        max_length=32,
        description="Annotations of the Ingress, added to those for long time-outs.",
    )


class MediaMode(StrEnum):
    POD_IP = "PodIP"
    HOST_PORT = "HostPort"
    RELAY = "Relay"


class Media(ApiModel):
    """How media (UDP) reaches a pod: by its own address, its node's, or one that a TURN server lends it."""

    mode: MediaMode = Field(
        default=MediaMode.POD_IP,
        description="PodIP: clients reach the pods' own addresses. HostPort: they reach the node's address, at the "
        "ports of portRange, which a pod then has for itself: one pod a node. Relay: a pod opens no port; it takes an "
        "address on a TURN server of turnURIs for each session, and all its media go through that server.",
    )
    port_range: str = Field(
        default="",
        max_length=11,
        pattern=r"^([1-9][0-9]{3,4}-[1-9][0-9]{3,4})?$",
        description="UDP ports for media, for example 50000-50063; a session takes one. Empty: any free port.",
    )
    advertised_addresses: tuple[Address, ...] = Field(
        default=(),
        max_length=7,
        description="Further addresses at which the same ports are reached, for example behind NAT; "
        "with HostPort the node's own is always among them.",
    )
    turn_uris: tuple[TurnUri, ...] = Field(
        default=(),
        alias="turnURIs",
        max_length=8,
        description="TURN servers, for example turn:turn.example.com:3478?transport=udp. Clients are told of them in "
        "every mode, with credentials (iceServers). With mode Relay the pods use them too: the first that answers.",
    )
    turn_secret_name: str = Field(
        default="",
        max_length=253,
        description="Secret with what the TURN servers ask for: the key secret holds the secret shared with them "
        "(coturn: static-auth-secret), from which each session gets credentials that expire; or else the keys username "
        "and password hold one user's, which every client then learns. Read when a pod starts.",
    )


class NetworkPolicySpec(ApiModel):
    enabled: bool = Field(default=True, description="Whether a NetworkPolicy is made.")
    allow_from: tuple[Json, ...] = Field(
        default=(),
        max_length=16,
        description="Who may reach the signalling port (NetworkPolicyPeer); empty: any.",
        json_schema_extra=kubernetes_part("networkPolicyPeers"),
    )


class Networking(ApiModel):
    """How clients reach the pods."""

    service: ServiceSpec = Field(default_factory=ServiceSpec, description="The signalling Service.")
    ingress: IngressSpec | None = Field(default=None, description="An Ingress for signalling. Absent: none.")
    media: Media = Field(
        default_factory=Media,
        description="How media (UDP) reaches the pods. Clients send media to the pod that has their session, or to a "
        "TURN server that relays for it, never through a Service or an Ingress: those carry signalling alone.",
    )
    network_policy: NetworkPolicySpec = Field(
        default_factory=NetworkPolicySpec, description="The NetworkPolicy of the pods."
    )


class Security(ApiModel):
    token_secret_name: str = Field(
        default="",
        max_length=253,
        description="Secret whose key token holds the bearer token for signalling; empty: open.",
    )
    allowed_origins: tuple[Annotated[str, Field(max_length=253)], ...] = Field(
        default=(), max_length=32, description="Origins that browsers may call from (CORS)."
    )


class PodOverrides(ApiModel):
    """Additions to the pod template. No hostPath: a pipeline's author gets no more than a pod's author there."""

    labels: Labels = Field(
        default_factory=dict, max_length=32, description="More labels on the pods; those of the operator win."
    )
    annotations: Annotations = Field(
        default_factory=dict,
        max_length=32,
        description="More annotations on the pods; they may replace those that forbid eviction.",
    )
    env: tuple[Json, ...] = Field(
        default=(),
        max_length=64,
        description="More environment variables of the mediapod container. Those that carry this spec into the pod win "
        "over equal names here, except LOG_LEVEL and MEDIAPOD_LOG_FORMAT.",
        json_schema_extra=kubernetes_part("env"),
    )
    volumes: tuple[Json, ...] = Field(
        default=(),
        max_length=16,
        description="More volumes: configMap, secret, emptyDir, persistentVolumeClaim, projected, ephemeral or image. "
        "One called tmp replaces the pod's own scratch volume.",
        json_schema_extra=kubernetes_part("volumes"),
    )
    volume_mounts: tuple[Json, ...] = Field(
        default=(),
        max_length=16,
        description="Where they are mounted in the mediapod container.",
        json_schema_extra=kubernetes_part("volumeMounts"),
    )
    termination_grace_period_seconds: int = Field(
        default=1860, ge=5, le=86400, description="How long a pod may take to drain when it is deleted."
    )
