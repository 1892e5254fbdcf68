"""From a container of a pod to the program that is started for it."""

import sys
from collections.abc import Mapping
from pathlib import Path

from devcluster.node.address_files import file_for_name
from devcluster.node.context import NodeContext
from devcluster.node.downward import PodFacts
from devcluster.node.environment import Contents, container_environment
from devcluster.node.images import Program
from devcluster.node.json_types import Json
from devcluster.node.launch.supervisor import Launch
from devcluster.node.mounts import container_mounts, make_sub_paths
from devcluster.node.service_account import write_pod_kubeconfig
from devcluster.node.variables import expand
from devcluster.node.volumes import PodVolumes

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def initial_environment(program: Program, facts: PodFacts, home: Path, server: tuple[str, int]) -> dict[str, str]:
    """What every container has: the image's environment, a home of its own and the API server's address."""
    host, port = server
    metadata = facts.pod["metadata"]
    return {
        "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
        "HOME": str(home),
        "HOSTNAME": metadata["name"],
        "PYTHONUNBUFFERED": "1",
        **program.environment,
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": str(port),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(port),
    }


def command_line(container: Json, program: Program, environment: Mapping[str, str]) -> list[str]:
    """``command`` takes the place of the image's argv, ``args`` follow; both with ``$(VAR)`` expanded.

    A ``command`` without ``args`` drops nothing: image programs of this node carry no default arguments.
    """
    command = container.get("command") or list(program.argv)
    return [*(expand(part, environment) for part in command)] + [
        expand(part, environment) for part in container.get("args") or ()
    ]


def give_address_files(environment: dict[str, str], program: Program, facts: PodFacts, folder: Path) -> None:
    """Puts paths of address files in the place of Services' names, in the variables that the image table names."""
    namespace = facts.pod["metadata"]["namespace"]
    for variable, port in program.address_files.items():
        name = environment.get(variable, "")
        if name and "/" not in name:
            environment[variable] = str(file_for_name(folder, namespace, name, port))


def kept_paths(program: Program, *folders: Path) -> list[str]:
    """What the program is made of: this Python with its packages, files named in the image table, and ``folders``."""
    named = [part for part in (*program.argv, program.working_directory or "") if part.startswith("/")]
    paths = [*map(str, folders), sys.prefix, sys.base_prefix, *(path for path in sys.path if path), *named]
    return sorted({path for path in paths if Path(path).exists()})


def plan_launch(
    container: Json,
    program: Program,
    facts: PodFacts,
    contents: Contents,
    volumes: PodVolumes,
    folder: Path,
    context: NodeContext,
) -> Launch:
    """The whole start of a container; ``folder`` is the pod's.

    Raises MissingReferenceError, FieldError, ValueError, OSError.
    """
    home, base = folder / "home", folder / f"{container['name']}.root"
    for path in (home, base):
        path.mkdir(parents=True, exist_ok=True)
    server = (context.client.connection.host, context.client.connection.port)
    environment = container_environment(container, facts, contents, initial_environment(program, facts, home, server))
    give_address_files(environment, program, facts, context.address_files_folder)
    mounts = container_mounts(container, volumes.paths, environment)
    make_sub_paths(mounts)
    if not context.isolated:
        _give_kubeconfig(environment, facts, volumes, folder, context)
    return Launch(
        argv=command_line(container, program, environment),
        environment=environment,
        working_directory=container.get("workingDir") or program.working_directory or str(home),
        isolated=context.isolated,
        base=str(base),
        mounts=mounts,
        kept=kept_paths(program, home, context.address_files_folder),
    )


def _give_kubeconfig(
    environment: dict[str, str], facts: PodFacts, volumes: PodVolumes, folder: Path, context: NodeContext
) -> None:
    token_file = volumes.token_file(facts.pod)
    if token_file is None or "KUBECONFIG" in environment:
        return
    kubeconfig = folder / "kubeconfig"
    write_pod_kubeconfig(kubeconfig, context.client.connection, token_file, facts.pod["metadata"]["namespace"])
    environment["KUBECONFIG"] = str(kubeconfig)
