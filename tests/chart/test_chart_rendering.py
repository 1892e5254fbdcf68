"""The chart: rendered with several values, restricted pods, least privilege, values that are checked and described."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mediapipeline_operator.api.schema import crd
from mediapipeline_operator.core.expressions import adapter_rules, recording_rules
from mediapipeline_operator.runtime.settings import Settings
from mediapipeline_operator.shell.cluster.kinds import BY_NAME, PIPELINE

Json = dict[str, Any]
Render = Callable[[str], list[Json]]
ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/mediapipeline-operator"
PREFIX = "MEDIAPIPELINE_OPERATOR_"


def of(manifests: list[Json], kind: str) -> list[Json]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def pod(manifests: list[Json]) -> Json:
    (deployment,) = of(manifests, "Deployment")
    spec: Json = deployment["spec"]["template"]["spec"]
    return spec


def settings_of(manifests: list[Json]) -> Json:
    (found,) = [one for one in of(manifests, "ConfigMap") if not one["metadata"]["name"].endswith("-adapter-rules")]
    return found


def rules(manifests: list[Json]) -> Iterator[Json]:
    for manifest in [*of(manifests, "ClusterRole"), *of(manifests, "Role")]:
        if not manifest["metadata"]["name"].endswith(("-view", "-edit")):
            yield from manifest["rules"]


def test_generated_files_are_current() -> None:
    command = [sys.executable, str(ROOT / "tools/render_install.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stderr


def test_lint_is_strict_and_silent(helm: Callable[..., Any]) -> None:
    result = helm("lint", "--strict", "--kube-version", "1.31.0", str(CHART))
    assert result.returncode == 0, result.stdout
    assert "[WARNING]" not in result.stdout


def test_namespaced_objects_name_their_namespace(manifests: list[Json]) -> None:
    cluster_wide = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    for manifest in manifests:
        assert ("namespace" in manifest["metadata"]) is (manifest["kind"] not in cluster_wide)


def test_pods_are_restricted(manifests: list[Json]) -> None:
    spec = pod(manifests)
    (container,) = spec["containers"]
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "command" not in container


def test_no_rule_reads_secrets_or_uses_wildcards(manifests: list[Json]) -> None:
    for rule in rules(manifests):
        assert "secrets" not in rule["resources"]
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_only_what_a_pipeline_can_switch_off_may_be_deleted(manifests: list[Json]) -> None:
    deletable = {name for rule in rules(manifests) if "delete" in rule["verbs"] for name in rule["resources"]}
    switched = {"networkpolicies", "ingresses", "servicemonitors", "horizontalpodautoscalers", "scaledobjects"}
    assert deletable == switched


def test_the_pipelines_themselves_are_never_changed(manifests: list[Json]) -> None:
    found = [rule["verbs"] for rule in rules(manifests) if "mediapipelines" in rule["resources"]]
    assert found
    assert all(verbs == ["get", "list", "watch"] for verbs in found)


def test_what_a_write_finds_changed_can_be_looked_at_again(manifests: list[Json]) -> None:
    seen = {"get", "list", "watch"}
    readable = {name for rule in rules(manifests) if seen <= set(rule["verbs"]) for name in rule["resources"]}
    assert {kind.plural for kind in (PIPELINE, *BY_NAME.values())} <= readable


def test_namespaces_give_roles_there_and_none_over_the_cluster(render: Render) -> None:
    manifests = render("namespaces")
    everywhere = {rule for role in of(manifests, "ClusterRole") for rule in _resources(role)}
    assert everywhere == {
        "customresourcedefinitions",
        "mediapipelines",
        "mediapipelines/status",
        "mediapipelines/scale",
    }
    roles = [role for role in of(manifests, "Role") if role["metadata"]["name"] == "mediapipeline-operator"]
    assert [role["metadata"]["namespace"] for role in roles] == ["studio", "stage"]
    (cluster_role,) = [
        role for role in of(render("defaults"), "ClusterRole") if role["metadata"]["name"] == "mediapipeline-operator"
    ]
    assert all(role["rules"] == cluster_role["rules"] for role in roles)
    (settings,) = of(manifests, "ConfigMap")
    assert settings["data"][f"{PREFIX}NAMESPACES"] == "studio,stage"


def _resources(role: Json) -> list[str]:
    return [name for rule in role["rules"] for name in rule["resources"]]


def test_every_setting_of_the_configmap_is_one_of_the_operator(manifests: list[Json]) -> None:
    settings = settings_of(manifests)
    given = {name.removeprefix(PREFIX).lower(): value for name, value in settings["data"].items()}
    assert given.keys() <= Settings.model_fields.keys()
    read = Settings.model_validate(given)
    assert read.mediapod_image == settings["data"][f"{PREFIX}MEDIAPOD_IMAGE"]


def test_values_reach_the_settings(render: Render) -> None:
    settings = settings_of(render("everything"))
    read = Settings.model_validate({key.removeprefix(PREFIX).lower(): value for key, value in settings["data"].items()})
    assert dict(read.build().service_monitor_labels) == {"release": "prometheus", "team": "media"}
    assert read.build().monitoring_namespace == "observability"
    assert (read.tick_seconds, read.log_format, read.log_level) == (2.5, "text", "DEBUG")
    assert read.prometheus_token_file == "/etc/prometheus-token/bearer"
    assert read.keda_trigger_authentication == "prometheus"


def test_overrides_come_after_the_settings_and_may_be_absent(render: Render) -> None:
    (container,) = pod(render("defaults"))["containers"]
    assert container["envFrom"] == [
        {"configMapRef": {"name": "mediapipeline-operator"}},
        {"configMapRef": {"name": "mediapipeline-operator-overrides", "optional": True}},
    ]


def test_a_changed_setting_rolls_the_operator(render: Render) -> None:
    sums = {
        of(render(name), "Deployment")[0]["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]
        for name in ("defaults", "everything", "namespaces")
    }
    assert len(sums) == 3


def test_what_is_off_is_not_there(render: Render) -> None:
    kinds = {manifest["kind"] for manifest in render("least")}
    assert kinds.isdisjoint({"CustomResourceDefinition", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor"})


def test_what_is_on_is_there(render: Render) -> None:
    kinds = {manifest["kind"] for manifest in render("everything")}
    switched = {"PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor", "PrometheusRule"}
    assert kinds >= {"CustomResourceDefinition", *switched}


def test_rules_for_others_are_those_of_the_operator(render: Render) -> None:
    manifests = render("everything")
    (recorded,) = of(manifests, "PrometheusRule")
    assert recorded["spec"] == recording_rules()
    assert recorded["metadata"]["labels"]["release"] == "prometheus"
    (adapted,) = [one for one in of(manifests, "ConfigMap") if one["metadata"]["name"].endswith("-adapter-rules")]
    assert yaml.safe_load(adapted["data"]["config.yaml"]) == adapter_rules()


def test_the_crd_is_the_generated_one_and_kept_by_default(render: Render) -> None:
    (kept,) = of(render("defaults"), "CustomResourceDefinition")
    assert kept["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    (loose,) = of(render("crd-not-kept"), "CustomResourceDefinition")
    assert kept == loose == json.loads(json.dumps(crd()))


def test_operator_pods_carry_the_label_that_pipelines_let_in(manifests: list[Json]) -> None:
    (deployment,) = of(manifests, "Deployment")
    assert deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] == "mediapipeline-operator"


def paths(values: Json, prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from paths(value, f"{prefix}{key}.")


def test_every_value_is_in_the_schema_with_a_description() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    for path in paths(values):
        part = schema
        for key in path.split("."):
            part = part.get("properties", {}).get(key, {})
        free = path.startswith("resources.")
        assert free or part.get("description"), f"{path} is not described in values.schema.json"


def test_every_value_of_the_schema_is_in_the_values_file() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)


def test_every_value_has_a_comment() -> None:
    text = (CHART / "values.yaml").read_text()
    assert "# -- " in text
    before_resources, _, rest = text.partition("\nresources:\n")  # one comment above stands for all of it
    lines = [*before_resources.splitlines(), *re.sub(r"^(  .*\n)+", "", rest).splitlines()]
    for comment, line in zip(["", *lines], lines, strict=False):
        if re.match(r"^ *[a-zA-Z]+: *\S", line):
            assert comment.strip().startswith("# -- "), f"no comment above {line!r}"


@pytest.mark.parametrize(
    "setting",
    ["replicas=0", "replicaCount=2", "log.level=LOUD", "prometheus.url=prometheus:9090", "namespaces={Bad_Name}"],
)
def test_wrong_values_are_refused(helm: Callable[..., Any], setting: str) -> None:
    result = helm("template", "mpo", str(CHART), "--kube-version", "1.31.0", "--set", setting)
    assert result.returncode != 0
    assert setting.split("=", maxsplit=1)[0].split(".")[-1] in result.stderr
