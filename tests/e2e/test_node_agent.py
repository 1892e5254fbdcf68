"""The node agent under the real scheduler and controllers: pods as processes that behave as in a cluster."""

import json
import ssl
import time
from pathlib import Path

import httpx
import pytest
import yaml

SERVER = "example.org/http-server:1.0"
SHELL = "example.org/shell:1.0"
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used: these servers speak plain HTTP, loading CAs takes long
POD_ENV = [
    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
]
# A slow answer is none that a test asked for: it neither fails a probe nor has a program killed that is about to end.
PROBED = {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 20}
READINESS = {"httpGet": {"path": "/readyz", "port": "http"}, **PROBED}
GRACE_SECONDS = 30
ANSWER_SECONDS = 30

pytestmark = pytest.mark.usefixtures("node_agent")


def server(**fields):
    """A container with the HTTP server."""
    env = POD_ENV + fields.pop("env", [])
    ports = [{"name": "http", "containerPort": 8080}]
    return {"name": "server", "image": SERVER, "ports": ports, "readinessProbe": READINESS, "env": env, **fields}


def shell(script, name="shell", **fields):
    """A container that runs a shell script."""
    return {"name": name, "image": SHELL, "args": ["-c", script], **fields}


def on(node):
    """The part of a pod's spec that brings it to `node`."""
    toleration = {"key": "node", "operator": "Equal", "value": node}
    return {"nodeSelector": {"kubernetes.io/hostname": node}, "tolerations": [toleration]}


def pod(name, *containers, labels=None, **spec):
    """A Pod manifest."""
    spec = {"containers": list(containers), "terminationGracePeriodSeconds": GRACE_SECONDS, **on("devnode"), **spec}
    metadata = {"name": name, "labels": labels or {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def deployment(name, container, replicas=1):
    """A Deployment manifest."""
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": GRACE_SECONDS, **on("devnode")},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def service(name, **spec):
    """A Service manifest for pods labelled app=name."""
    ports = [{"port": 8081, "targetPort": "http"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


class Cluster:
    """What the tests do and ask in their namespace."""

    def __init__(self, api, kubectl, namespace, eventually, data_dir):
        self.api, self._kubectl, self.namespace, self.eventually = api, kubectl, namespace, eventually
        self.data_dir = data_dir

    def apply(self, *manifests):
        self._kubectl("apply", "-n", self.namespace, "-f", "-", input=yaml.safe_dump_all(manifests))

    def kubectl(self, *arguments):
        return self._kubectl("-n", self.namespace, *arguments).stdout

    def get(self, kind, name):
        answer = self.api.get(f"/api/v1/namespaces/{self.namespace}/{kind}/{name}")
        return answer.json() if answer.status_code == 200 else None

    def pods(self, app):
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        return self.api.get(path, params={"labelSelector": f"app={app}"}).json()["items"]

    def ready_pods(self, app):
        return [
            p for p in self.pods(app) if condition(p, "Ready") == "True" and "deletionTimestamp" not in p["metadata"]
        ]

    def wait_ready(self, app, count=1):
        def enough():
            ready = self.ready_pods(app)
            return ready if len(ready) == count else None

        return self.eventually(enough, f"{count} ready pods of {app}")

    def wait_phase(self, name, phase):
        self.eventually(lambda: self.get("pods", name)["status"]["phase"] == phase, f"pod {name} to be {phase}")
        return self.get("pods", name)

    def log(self, pod_object, container):
        metadata = pod_object["metadata"]
        folder = self.data_dir / "pods" / f"{self.namespace}_{metadata['name']}_{metadata['uid']}"
        return (folder / f"{container}.log").read_text()

    def events(self, name):
        path = f"/api/v1/namespaces/{self.namespace}/events"
        items = self.api.get(path, params={"fieldSelector": f"involvedObject.name={name}"}).json()["items"]
        return [f"{event['reason']}: {event['message']}" for event in items]


def condition(item, kind):
    return next((c["status"] for c in item["status"].get("conditions", ()) if c["type"] == kind), None)


def ask(pod_object, path):
    """GET from a pod by its address."""
    url = f"http://{pod_object['status']['podIP']}:8080{path}"
    return httpx.get(url, timeout=ANSWER_SECONDS, trust_env=False, verify=PLAIN)


def running_with(text):
    """Process ids whose command line or environment-free arguments contain `text`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if text.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


@pytest.fixture
def cluster(api, kubectl, namespace, eventually, node_agent):
    return Cluster(api, kubectl, namespace, eventually, node_agent.data_dir)


def test_the_node_says_what_it_is(api):
    node = api.get("/api/v1/nodes/devnode").json()
    assert condition(node, "Ready") == "True"
    assert node["status"]["capacity"]["nvidia.com/gpu"] == "4"
    assert node["metadata"]["annotations"]["devcluster.rtcscale.dev/simulated-gpu"] == "true"
    assert "ordinary processes" in node["metadata"]["annotations"]["devcluster.rtcscale.dev/process-node"]
    assert api.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/devnode").status_code == 200


def test_a_deployment_becomes_available_and_scales_down_with_sigterm(cluster):
    container = server(resources={"limits": {"nvidia.com/gpu": 1}}, args=["--who", "$(POD_NAME)"])
    cluster.apply(deployment("web", container, replicas=2))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=100s")
    first, second = cluster.wait_ready("web", 2)
    assert first["status"]["podIP"] != second["status"]["podIP"]
    assert "'--who', 'web-" in cluster.log(first, "server")
    cluster.kubectl("scale", "deployment/web", "--replicas=1")
    cluster.eventually(lambda: len(cluster.pods("web")) == 1, "the second pod to be gone")
    survivor = cluster.pods("web")[0]["metadata"]["uid"]
    gone = first if second["metadata"]["uid"] == survivor else second
    assert "SIGTERM received" in cluster.log(gone, "server")


def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace_period(cluster):
    cluster.apply(
        pod("stubborn", server(env=[{"name": "IGNORE_SIGTERM", "value": "1"}]), terminationGracePeriodSeconds=2)
    )
    cluster.wait_ready("stubborn")
    begun = time.monotonic()
    cluster.kubectl("delete", "pod", "stubborn", "--wait=true")
    assert time.monotonic() - begun >= 2


def test_readiness_is_taken_away_and_given_back(cluster):
    cluster.apply(pod("moody", server()))
    (found,) = cluster.wait_ready("moody")
    ask(found, "/set/ready/false")
    cluster.eventually(lambda: not cluster.ready_pods("moody"), "the pod to be unready")
    failures = "a probe's failure among the pod's events"
    cluster.eventually(lambda: any("503" in event for event in cluster.events("moody")), failures)
    ask(found, "/set/ready/true")
    cluster.wait_ready("moody")
    assert cluster.get("pods", "moody")["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_failing_liveness_probe_restarts_the_container(cluster):
    liveness = {"httpGet": {"path": "/healthz", "port": 8080}, **PROBED}
    startup = {"tcpSocket": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 30}
    cluster.apply(pod("ill", server(livenessProbe=liveness, startupProbe=startup)))
    (found,) = cluster.wait_ready("ill")
    ask(found, "/set/live/false")

    def restarted():
        status = cluster.get("pods", "ill")["status"]["containerStatuses"][0]
        return status if status["restartCount"] == 1 and status["ready"] else None

    status = cluster.eventually(restarted, "a restarted, ready container")
    assert status["lastState"]["terminated"]["exitCode"] == 0  # it obeyed SIGTERM
    assert cluster.get("pods", "ill")["status"]["podIP"] == found["status"]["podIP"]


def test_environment_and_volumes_are_what_the_pod_asked_for(cluster):
    def configmap(name, data):
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}

    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden"}, "stringData": {"word": "sesame"}}
    mounts = {
        "config": "/etc/devcluster-test/config",
        "secret": "/var/run/devcluster-test",
        "scratch": "/tmp",
        "pod": "/podinfo",
    }
    labels = {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}
    volumes = [
        {"name": "config", "configMap": {"name": "first"}},
        {"name": "secret", "secret": {"secretName": "hidden"}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "pod", "downwardAPI": labels},
    ]
    container = server(
        envFrom=[
            {"configMapRef": {"name": "first"}},
            {"configMapRef": {"name": "second"}},
            {"configMapRef": {"name": "absent", "optional": True}},
        ],
        env=[
            {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "word"}}},
            {"name": "URL", "value": "http://$(POD_IP)/$(A)"},
        ],
        volumeMounts=[{"name": name, "mountPath": path} for name, path in mounts.items()],
        lifecycle={"preStop": {"exec": {"command": ["true"]}}},
    )
    writer = shell("echo kept > /tmp/note", "writer", volumeMounts=[{"name": "scratch", "mountPath": "/tmp"}])
    manifest = pod("reader", container, volumes=volumes, initContainers=[writer])
    cluster.apply(configmap("first", {"A": "1", "B": "1"}), configmap("second", {"B": "2"}), secret, manifest)
    (found,) = cluster.wait_ready("reader")
    env = ask(found, "/env").json()["env"]
    assert {key: env[key] for key in ("A", "B", "WORD", "FROM_IMAGE", "HOSTNAME")} == {
        "A": "1",
        "B": "2",
        "WORD": "sesame",
        "FROM_IMAGE": "yes",
        "HOSTNAME": "reader",
    }
    assert env["URL"] == f"http://{found['status']['podIP']}/1"
    assert ask(found, "/file/etc/devcluster-test/config/A").json() == "1"
    assert ask(found, "/file/var/run/devcluster-test/word").json() == "sesame"
    assert ask(found, "/file/tmp/note").json() == "kept\n"
    assert ask(found, "/file/podinfo/labels").json() == 'app="reader"'
    assert not any(
        Path(path).exists() for path in (mounts["config"], mounts["secret"], mounts["pod"])
    )  # not on the host


def test_the_pods_own_token_is_mounted_and_bound_by_rbac(cluster):
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}}
    cluster.apply(account, pod("speaker", server(), serviceAccountName="reader"))
    (found,) = cluster.wait_ready("speaker")
    path = f"/api/api/v1/namespaces/{cluster.namespace}/configmaps"
    refusal = ask(found, path)
    assert refusal.status_code == 403
    assert f"system:serviceaccount:{cluster.namespace}:reader" in refusal.json()["message"]
    cluster.kubectl("create", "role", "reader", "--verb=list", "--resource=configmaps")
    cluster.kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={cluster.namespace}:reader")
    cluster.eventually(lambda: ask(found, path).status_code == 200, "the role to count")
    namespace_file = "/file/var/run/secrets/kubernetes.io/serviceaccount/namespace"
    assert ask(found, namespace_file).json() == cluster.namespace


def test_a_pod_may_refuse_its_token(cluster):
    cluster.apply(pod("mute", server(), automountServiceAccountToken=False))
    (found,) = cluster.wait_ready("mute")
    assert ask(found, "/file/var/run/secrets/kubernetes.io/serviceaccount/token").status_code == 404
    assert "KUBECONFIG" not in ask(found, "/env").json()["env"]


def test_the_service_proxy_balances_over_ready_pods_only(cluster):
    cluster.apply(deployment("web", server(), replicas=2), service("web"))
    first, second = cluster.wait_ready("web", 2)
    address = cluster.get("services", "web")["spec"]["clusterIP"]

    def answer():
        """Who answers; nobody when the connection is reset."""
        try:
            found = httpx.get(f"http://{address}:8081/", timeout=ANSWER_SECONDS, trust_env=False, verify=PLAIN)
        except (httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError):
            return None
        return found.json()["pod"]

    def answers(count=20):
        return {answer() for _ in range(count)}

    both = {first["metadata"]["name"], second["metadata"]["name"]}
    cluster.eventually(lambda: answers() == both, "both to answer: the proxy learns of ready pods a little later")
    ask(first, "/set/ready/false")
    cluster.wait_ready("web", 1)
    cluster.eventually(lambda: answers(10) == {second["metadata"]["name"]}, "only the ready pod to answer")
    assert first["metadata"]["name"] not in answers()
    ask(second, "/set/ready/false")
    cluster.eventually(lambda: not cluster.ready_pods("web"), "no pod to be ready")
    cluster.eventually(lambda: answer() is None, "connections to be reset")


def test_an_image_that_is_not_in_the_table_never_runs(cluster, tmp_path):
    proof = tmp_path / "ran"
    cluster.apply(pod("stranger", {"name": "c", "image": "nginx:1.27", "command": ["touch", str(proof)]}))

    def refusal():
        statuses = cluster.get("pods", "stranger")["status"].get("containerStatuses") or [{}]
        waiting = statuses[0].get("state", {}).get("waiting", {})
        return waiting.get("message") if waiting.get("reason") == "ImageNotRunnableHere" else None

    assert "nginx:1.27" in cluster.eventually(refusal, "the reason ImageNotRunnableHere")
    assert cluster.get("pods", "stranger")["status"]["phase"] == "Pending"
    cluster.kubectl("delete", "pod", "stranger", "--wait=true")
    assert not proof.exists()


def test_restart_policies_and_exit_codes(cluster):
    cluster.apply(
        pod("done", shell("echo work; exit 0"), restartPolicy="Never"),
        pod("broken", shell("exit 3"), restartPolicy="Never"),
        pod("looping", shell("exit 4")),
    )
    done, broken = cluster.wait_phase("done", "Succeeded"), cluster.wait_phase("broken", "Failed")
    assert done["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    assert broken["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3

    def in_back_off():
        (status,) = cluster.get("pods", "looping")["status"].get("containerStatuses") or [{"state": {}}]
        waiting = status["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
        return status if waiting and status["restartCount"] >= 2 else None

    assert cluster.eventually(in_back_off, "CrashLoopBackOff")["lastState"]["terminated"]["exitCode"] == 4


def test_a_program_that_cannot_be_started_says_why(cluster):
    missing = {"name": "c", "image": SHELL, "command": ["/no/such/program"]}
    cluster.apply(pod("absent", missing, restartPolicy="Never"))
    terminated = cluster.wait_phase("absent", "Failed")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (128, "StartError")
    assert "No such file" in terminated["message"]


def test_exec_probes_and_pre_stop_run_inside_the_container(cluster):
    mount = [{"name": "box", "mountPath": "/box/inner"}]
    probe = {"exec": {"command": ["test", "-f", "/box/inner/ready"]}, "periodSeconds": 1}
    script = "trap 'cat /box/inner/said; exit 0' TERM; touch /box/inner/ready; while :; do sleep 0.1; done"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo goodbye > /box/inner/said"]}}}
    container = shell(script, readinessProbe=probe, volumeMounts=mount, lifecycle=hook)
    cluster.apply(pod("inside", container, volumes=[{"name": "box", "emptyDir": {}}]))
    (found,) = cluster.wait_ready("inside")
    cluster.kubectl("delete", "pod", "inside", "--wait=true")
    assert "goodbye" in cluster.log(found, "shell")
    assert not Path("/box").exists()


def test_missing_references_are_waited_for(cluster):
    container = server(env=[{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "x"}}}])
    cluster.apply(pod("patient", container))

    def message():
        waiting = (
            cluster.get("pods", "patient")["status"]
            .get("containerStatuses", [{}])[0]
            .get("state", {})
            .get("waiting", {})
        )
        return waiting.get("message") if waiting.get("reason") == "CreateContainerConfigError" else None

    assert 'configmap "late" not found' in cluster.eventually(message, "CreateContainerConfigError")
    cluster.kubectl("create", "configmap", "late", "--from-literal=x=1")
    cluster.wait_ready("patient")


@pytest.fixture
def other_node(start_node_agent):
    """A second node."""
    return start_node_agent("other")


def test_nothing_outlives_a_killed_agent_and_a_new_one_takes_over(cluster, other_node, start_node_agent):
    marker = f"9{time.time_ns() % 10**9}"
    cluster.apply(pod("fragile", server(env=[{"name": "CHILD_MARKER", "value": marker}]), **on("other")))
    (found,) = cluster.wait_ready("fragile")
    assert found["spec"]["nodeName"] == "other"
    cluster.eventually(lambda: running_with(f"sleep\0{marker}"), "the grandchild")
    other_node.process.kill()
    folder = str(other_node.data_dir)
    cluster.eventually(
        lambda: not running_with(f"sleep\0{marker}") and not running_with(folder), "all processes to end"
    )
    start_node_agent("other", data_dir=other_node.data_dir)

    def restarted():
        item = cluster.get("pods", "fragile")
        return (
            item
            if item["status"]["containerStatuses"][0]["restartCount"] == 1 and condition(item, "Ready") == "True"
            else None
        )

    again = cluster.eventually(restarted, "the pod to run again")
    assert again["status"]["podIP"] == found["status"]["podIP"]
    assert json.loads((other_node.data_dir / "addresses.json").read_text())[found["metadata"]["uid"]]


def test_a_stopped_agent_ends_its_pods_and_marks_its_node(cluster, start_node_agent, api):
    agent = start_node_agent("leaving", "--no-service-proxy")
    cluster.apply(pod("guest", server(), **on("leaving")))
    (found,) = cluster.wait_ready("guest")
    agent.process.stop(timeout_seconds=60)
    assert not running_with(str(agent.data_dir))
    assert condition(api.get("/api/v1/nodes/leaving").json(), "Ready") == "False"
    assert "SIGTERM received" in (next(agent.data_dir.glob("pods/*_guest_*")) / "server.log").read_text()
    left = cluster.get("pods", found["metadata"]["name"])
    assert condition(left, "Ready") == "False"
    assert left["status"]["phase"] == "Running"  # not over: controllers would replace it at once


def test_without_namespaces_pods_get_a_kubeconfig(cluster, start_node_agent, api):
    start_node_agent("plain", "--no-isolation", "--no-service-proxy")
    cluster.apply(pod("simple", server(), **on("plain")))
    (found,) = cluster.wait_ready("simple")
    content = yaml.safe_load(Path(ask(found, "/env").json()["env"]["KUBECONFIG"]).read_text())
    token = Path(content["users"][0]["user"]["tokenFile"]).read_text()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    status = api.post("/apis/authentication.k8s.io/v1/tokenreviews", json=review).json()["status"]
    assert status["user"]["username"] == f"system:serviceaccount:{cluster.namespace}:default"
    annotations = api.get("/api/v1/nodes/plain").json()["metadata"]["annotations"]
    assert "KUBECONFIG" in annotations["devcluster.rtcscale.dev/isolation"]
