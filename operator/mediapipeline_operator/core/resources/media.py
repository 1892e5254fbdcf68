"""How media (UDP) reaches the pods: the ports on the node, the addresses that pods tell clients, and who is let in."""

import json
from collections.abc import Sequence
from typing import Any

from mediapipeline_operator.api.spec import Media, MediaMode, MediaPipelineSpec

_HOST_ADDRESS = "HOST_IP"
# Variable of the mediapod -> key of the Secret. A Secret has the first, or the other two.
_TURN_KEYS = {
    "MEDIAPOD_TURN_SECRET": "secret",
    "MEDIAPOD_TURN_USERNAME": "username",
    "MEDIAPOD_TURN_PASSWORD": "password",
}


def media_ports(media: Media) -> tuple[int, int] | None:
    """First and last media port; None for any. The CRD has checked the form."""
    if not media.port_range:
        return None
    first, last = media.port_range.split("-")
    return int(first), int(last)


def host_ports(spec: MediaPipelineSpec) -> list[dict[str, Any]]:
    """With HostPort every media port is the node's too, so that the scheduler knows that it is taken."""
    media = spec.networking.media
    ports = media_ports(media)
    if media.mode is not MediaMode.HOST_PORT or ports is None:
        return []
    return [
        {"name": f"media-{port}", "containerPort": port, "hostPort": port, "protocol": "UDP"}
        for port in range(ports[0], ports[1] + 1)
    ]


def media_environment(media: Media) -> list[dict[str, Any]]:
    """The variables for ports, addresses and TURN servers; none without these: adding the fields rolled nobody."""
    advertised = list(media.advertised_addresses)
    entries: list[dict[str, Any]] = []
    if media.mode is MediaMode.HOST_PORT:
        # The pod's own variable, put in by the kubelet: only it knows where the pod runs.
        entries.append({"name": _HOST_ADDRESS, "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}})
        advertised.insert(0, f"$({_HOST_ADDRESS})")
    if media.port_range:
        entries.append({"name": "MEDIAPOD_MEDIA_PORT_RANGE", "value": media.port_range})
    if advertised:
        entries.append({"name": "MEDIAPOD_ADVERTISED_ADDRESSES", "value": _compact(advertised)})
    return [*entries, *_turn_environment(media)]


def _turn_environment(media: Media) -> list[dict[str, Any]]:
    """Each key of the Secret is optional: which of them there must be, the mediapod knows, and says."""
    if not media.turn_uris:
        return []
    relay = [{"name": "MEDIAPOD_RELAY", "value": "true"}] if media.mode is MediaMode.RELAY else []
    keys = (
        {"name": name, "valueFrom": {"secretKeyRef": {"name": media.turn_secret_name, "key": key, "optional": True}}}
        for name, key in _TURN_KEYS.items()
    )
    return [*relay, {"name": "MEDIAPOD_TURN_URIS", "value": _compact(media.turn_uris)}, *keys]


def _compact(values: Sequence[str]) -> str:
    return json.dumps(list(values), separators=(",", ":"))


def media_rules(media: Media) -> list[dict[str, Any]]:
    """The NetworkPolicy's rules for media: from wherever the clients are, to the ports that ICE may choose.

    None with Relay: there the pod opens the way itself, and what its TURN server sends are answers, which a policy lets
    through. The policy never limits what pods send, so they reach the TURN server.
    """
    if media.mode is MediaMode.RELAY:
        return []
    ports = media_ports(media)
    if ports is None:
        return [{"ports": [{"protocol": "UDP"}]}]
    return [{"ports": [{"protocol": "UDP", "port": ports[0], "endPort": ports[1]}]}]
