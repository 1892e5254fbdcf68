"""The few objects that a new cluster needs before anybody uses it."""

import httpx

_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


def grant_view(client: httpx.Client, user: str) -> None:
    """Lets a user read what the built-in ClusterRole `view` allows (pods, not secrets), in all namespaces."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{user}-view"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    answer = client.post(_BINDINGS, json=binding)
    if answer.status_code != httpx.codes.CONFLICT:  # it is there since an earlier start
        answer.raise_for_status()


def default_account_exists(client: httpx.Client) -> bool:
    """Whether the controllers have made the service account that pods of namespace default get."""
    return _is_ok(client, "/api/v1/namespaces/default/serviceaccounts/default", {})


def may_list_pods(client: httpx.Client, token: str) -> bool:
    """Whether the API server already knows that the user of this token may list pods."""
    return _is_ok(client, "/api/v1/pods?limit=1", {"Authorization": f"Bearer {token}"})


def _is_ok(client: httpx.Client, path: str, headers: dict[str, str]) -> bool:
    try:
        answer = client.get(path, headers=headers)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK
