"""Writes what is generated for installing: crds/, the chart's CRD template and install.yaml.

`python tools/render_install.py`; with `--check` it changes nothing and fails when a file is not current. Helm renders
the chart: $HELM, else the one that the local cluster uses (found on PATH, in the cache, or built once).
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from devcluster.binaries import ensure
from mediapipeline_operator.api.schema import as_yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts/mediapipeline-operator"
CRD = ROOT / "crds/media.rtcscale.dev_mediapipelines.yaml"
CRD_TEMPLATE = CHART / "templates/crd.yaml"
INSTALL = ROOT / "install.yaml"
NAMESPACE = "mediapipeline-system"
RELEASE = "mediapipeline-operator"
NAME_LINE = "  name: mediapipelines.media.rtcscale.dev\n"
KEEP = """  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
"""
HEAD = f"""# The MediaPipeline operator: kubectl apply --server-side -f install.yaml
# Rendered from charts/mediapipeline-operator by tools/render_install.py. Do not edit. Settings of your cluster, for
# example MEDIAPIPELINE_OPERATOR_PROMETHEUS_URL, go into the ConfigMap {RELEASE}-overrides.
---
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    app.kubernetes.io/part-of: mediapipeline
    pod-security.kubernetes.io/enforce: restricted
"""


def crd_template() -> str:
    """The CRD as a template of the chart. Text, not values: Helm's YAML functions turn large integers into floats."""
    text = as_yaml()
    if "{{" in text or text.count(NAME_LINE) != 1:
        raise ValueError("the CRD cannot be a template: it holds {{ or its name more than once")
    return "{{- if .Values.crds.install }}\n" + text.replace(NAME_LINE, NAME_LINE + KEEP) + "{{- end }}\n"


def render(helm: Path, *arguments: str) -> str:
    """What `helm template` prints for the chart. Raises CalledProcessError with Helm's words in stderr."""
    command = [str(helm), "template", RELEASE, str(CHART), "--namespace", NAMESPACE, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def find_helm() -> Path:
    return Path(os.environ["HELM"]) if os.environ.get("HELM") else ensure(("helm",))["helm"]


def generated() -> Iterator[tuple[Path, str]]:
    """Each generated file with its text, in the order in which they depend on each other."""
    yield CRD, as_yaml()
    yield CRD_TEMPLATE, crd_template()
    # Helm puts a notice of its own version nowhere, so the text depends on the chart alone.
    yield INSTALL, HEAD + render(find_helm(), "--kube-version", "1.31.0")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail when a file is not current")
    check = parser.parse_args().check
    stale = []
    for path, text in generated():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not check:
            path.write_text(text, encoding="utf-8")
    for path in stale:
        sys.stderr.write(
            f"{path.relative_to(ROOT)} {'is not current: run tools/render_install.py' if check else 'written'}\n"
        )
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
