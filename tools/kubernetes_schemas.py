"""Regenerates api/kubernetes.json of the operator: Kubernetes' own schemas of the parts that a pipeline passes on.

Source: api/openapi-spec/swagger.json of the Go module k8s.io/kubernetes (Apache-2.0), fetched with `go mod download`.
Descriptions are left out (the CRD must stay under 200 KB), references are inlined, what a pipeline cannot use is cut:
volume kinds other than those of the API page, resource claims, and everything but labels and annotations of metadata.

    python tools/kubernetes_schemas.py [--version v1.36.3] [--swagger PATH]
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

Json = dict[str, Any]
TARGET = Path(__file__).parents[1] / "operator/mediapipeline_operator/api/kubernetes.json"
CORE = "io.k8s.api.core.v1"
# What is taken: our name -> (definition, property).
PARTS = {
    "resources": (f"{CORE}.Container", "resources"),
    "env": (f"{CORE}.Container", "env"),
    "volumeMounts": (f"{CORE}.Container", "volumeMounts"),
    "affinity": (f"{CORE}.PodSpec", "affinity"),
    "tolerations": (f"{CORE}.PodSpec", "tolerations"),
    "topologySpreadConstraints": (f"{CORE}.PodSpec", "topologySpreadConstraints"),
    "volumes": (f"{CORE}.PodSpec", "volumes"),
    "imagePullSecrets": (f"{CORE}.PodSpec", "imagePullSecrets"),
    "networkPolicyPeers": ("io.k8s.api.networking.v1.NetworkPolicyIngressRule", "from"),
}
VOLUME_KINDS = ("configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected", "ephemeral", "image")
KEPT_KEYS = (
    "type",
    "format",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
)
QUANTITY_PATTERN = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
INT_OR_STRING = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}


class Swagger:
    """Definitions of the API server, turned into structural schemas."""

    def __init__(self, definitions: Json) -> None:
        self._definitions = definitions

    def part(self, definition: str, name: str) -> Json:
        return self._structural(self._definitions[definition]["properties"][name])

    def _structural(self, schema: Json) -> Json:
        if "$ref" in schema:
            return self._referred(schema["$ref"].rsplit("/", 1)[-1])
        kept = {key: schema[key] for key in KEPT_KEYS if key in schema}
        if "properties" in schema:
            kept["properties"] = {name: self._structural(part) for name, part in schema["properties"].items()}
        for key in ("items", "additionalProperties"):
            if key in schema:
                kept[key] = self._structural(schema[key])
        if kept.get("x-kubernetes-list-type") == "map":
            self._require_keys(kept)
        return kept

    def _referred(self, name: str) -> Json:
        if name.endswith("resource.Quantity"):
            return {**INT_OR_STRING, "pattern": QUANTITY_PATTERN}
        if name.endswith("intstr.IntOrString"):
            return dict(INT_OR_STRING)
        schema = self._structural(self._definitions[name])
        if name.endswith("meta.v1.ObjectMeta"):
            schema["properties"] = {key: schema["properties"][key] for key in ("labels", "annotations")}
        return schema

    @staticmethod
    def _require_keys(schema: Json) -> None:
        """The keys of a list-map must be required (or have a default) in a CRD."""
        items = schema["items"]
        items["required"] = sorted({*items.get("required", []), *schema["x-kubernetes-list-map-keys"]})


def swagger_file(version: str) -> Path:
    """Downloads the module (cached by Go) and returns the path of its swagger.json."""
    command = ["go", "mod", "download", "-json", f"k8s.io/kubernetes@{version}"]
    answer = subprocess.run(command, check=True, capture_output=True, timeout=600)
    return Path(json.loads(answer.stdout)["Dir"]) / "api/openapi-spec/swagger.json"


def parts(definitions: Json) -> Json:
    """All parts by our names, cut to what a pipeline can use."""
    swagger = Swagger(definitions)
    found = {name: swagger.part(*where) for name, where in PARTS.items()}
    volume = found["volumes"]["items"]["properties"]
    found["volumes"]["items"]["properties"] = {name: volume[name] for name in ("name", *VOLUME_KINDS)}
    del found["resources"]["properties"]["claims"]  # they need resourceClaims, which a pipeline lacks
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", default="v1.36.3", help="version of the module k8s.io/kubernetes")
    parser.add_argument("--swagger", type=Path, help="a swagger.json that is already here")
    arguments = parser.parse_args()
    source = arguments.swagger or swagger_file(arguments.version)
    found = parts(json.loads(source.read_text())["definitions"])
    origin = f"swagger.json of k8s.io/kubernetes {arguments.version} by tools/kubernetes_schemas.py"
    TARGET.write_text(json.dumps({"origin": origin, **found}, separators=(",", ":"), sort_keys=True) + "\n")
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
