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
    try:
        answer = client.get("/api/v1/namespaces/default/serviceaccounts/default")
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK
