"""What the API server holds for pods: ConfigMaps, Secrets and service-account tokens."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from devcluster.node.api import ApiClient, ApiError
from devcluster.node.container_state import parse_time
from devcluster.node.environment import ObjectKey
from devcluster.node.json_types import Json
from devcluster.node.payload import TokenRequest

_PLURALS = {"ConfigMap": "configmaps", "Secret": "secrets"}
_CACHE_SECONDS = 2.0  # pods of one Deployment start together and ask for the same objects
_CACHE_SIZE = 256


@dataclass(frozen=True)
class Token:
    """A service account's token; ``renew_at`` is monotonic time: four fifths of its life, as in the kubelet."""

    text: str
    renew_at: float


class Sources:
    """Reads with the node's own credentials. Raises ApiError for everything but "not found"."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._cache: dict[tuple[str, ObjectKey], tuple[float, Json | None]] = {}

    async def objects(self, namespace: str, keys: Iterable[ObjectKey]) -> dict[ObjectKey, Json | None]:
        """Each object, None for one that does not exist."""
        return {key: await self._object(namespace, key) for key in sorted(keys, key=lambda k: (k.kind, k.name))}

    async def _object(self, namespace: str, key: ObjectKey) -> Json | None:
        read_at, item = self._cache.get((namespace, key), (-_CACHE_SECONDS, None))
        if time.monotonic() - read_at < _CACHE_SECONDS and item is not None:
            return item
        item = await self._read(f"/api/v1/namespaces/{namespace}/{_PLURALS[key.kind]}/{key.name}")
        if len(self._cache) >= _CACHE_SIZE:
            self._cache.clear()
        self._cache[namespace, key] = (time.monotonic(), item)
        return item

    async def _read(self, path: str) -> Json | None:
        try:
            return await self._client.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def token(self, pod: Json, request: TokenRequest) -> Token:
        """A new token of the pod's service account, bound to the pod."""
        metadata = pod["metadata"]
        account = pod["spec"].get("serviceAccountName") or "default"
        spec: Json = {
            "audiences": [request.audience] if request.audience else [],
            "expirationSeconds": request.expiration_seconds,
            "boundObjectRef": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        }
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        status = (await self._client.post(path, body))["status"]
        lifetime = (parse_time(status["expirationTimestamp"]) - datetime.now(UTC)).total_seconds()
        return Token(status["token"], time.monotonic() + max(lifetime * 0.8, 1.0))
