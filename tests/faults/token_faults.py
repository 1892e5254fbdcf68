"""The operator's token rotates, on an API server that really refuses the old one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.life import Reference, aftermath, create, created, edit, new_name
from faults.oracles import converges
from faults.rig import Operator, OracleError, Rig, eventually

ACCOUNT = "rotating"
_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


class _Tokens:
    """Tokens of one service account, each bound to a Secret: it is refused once its Secret is deleted."""

    def __init__(self, rig: Rig) -> None:
        self._api = rig.world.api
        self._root = f"/api/v1/namespaces/{rig.namespace}"

    def issue(self, number: int) -> str:
        secret = self._api.post(f"{self._root}/secrets", json={"metadata": {"name": f"token-{number}"}})
        uid = secret.raise_for_status().json()["metadata"]["uid"]
        bound = {"apiVersion": "v1", "kind": "Secret", "name": f"token-{number}", "uid": uid}
        body = {"spec": {"expirationSeconds": 3600, "boundObjectRef": bound}}
        answer = self._api.post(f"{self._root}/serviceaccounts/{ACCOUNT}/token", json=body)
        return str(answer.raise_for_status().json()["status"]["token"])

    def revoke(self, number: int) -> None:
        """The API server believes what it has found out about a token for ten seconds."""
        self._api.delete(f"{self._root}/secrets/token-{number}").raise_for_status()


@contextmanager
def _account(rig: Rig) -> Iterator[_Tokens]:
    """A service account of this namespace that may do everything."""
    rig.world.create("ServiceAccount", {"metadata": {"name": ACCOUNT}})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": rig.namespace}
    body = {"metadata": {"name": rig.namespace}, "roleRef": role, "subjects": [subject]}
    rig.world.api.post(_BINDINGS, json=body).raise_for_status()
    try:
        yield _Tokens(rig)
    finally:
        rig.world.api.delete(f"{_BINDINGS}/{rig.namespace}").raise_for_status()


def rotated_token(rig: Rig, reference: Reference) -> None:
    """First the new token is in the file before the old one is refused, as the kubelet does it: nobody notices. Then
    it comes too late: the operator leads again, and does its work, as soon as it is there.
    """
    file = rig.folder / f"{rig.namespace}.token"
    with _account(rig) as tokens:
        _write(file, tokens.issue(1))
        rig.token_file = file
        operator = rig.start()
        name = created(rig, reference)
        _write(file, tokens.issue(2))
        _revoked(operator, tokens, 1)
        edit(rig, name)
        converges(rig, name, reference.edited)
        if "leadership_lost" in operator.text():
            raise OracleError("O12", "the Lease was lost over a token that rotated in time")
        _too_late(rig, reference, tokens, file)
        aftermath(rig, reference, name, counted=False)


def _too_late(rig: Rig, reference: Reference, tokens: _Tokens, file: Path) -> None:
    _revoked(rig.operator, tokens, 2)
    name = new_name()
    create(rig, name)
    eventually(lambda: "leadership_lost" in rig.operator.text(), "the Lease to be lost")
    _write(file, tokens.issue(3))
    converges(rig, name, reference.created)
    edit(rig, name)
    converges(rig, name, reference.edited)
    aftermath(rig, reference, name)


def _revoked(operator: Operator, tokens: _Tokens, number: int) -> None:
    before = len(operator.proxy.calls)
    tokens.revoke(number)
    refused = lambda: any(one.status == 401 for one in operator.proxy.calls[before:])  # noqa: E731  asked again and again
    eventually(refused, f"token {number} to be refused", oracle="the suite itself")


def _write(file: Path, token: str) -> None:
    """At once, as the kubelet does: nobody reads half a token."""
    fresh = file.with_suffix(".new")
    fresh.write_text(token)
    fresh.replace(file)
