"""The node agent: wires the parts together, runs until it is stopped, and leaves nothing behind."""

import asyncio
import contextlib
import shutil
import signal

import aiohttp
import structlog

from devcluster.node.address_files import AddressFiles
from devcluster.node.addresses import PodAddresses
from devcluster.node.api import ApiClient
from devcluster.node.container_process import isolation_problem
from devcluster.node.context import NodeContext
from devcluster.node.events import EventRecorder
from devcluster.node.images import load_image_table
from devcluster.node.kubeconfig import load_kubeconfig
from devcluster.node.node_object import allocatable
from devcluster.node.pods import Pods
from devcluster.node.proxy import ServiceProxy
from devcluster.node.reflector import Reflector
from devcluster.node.registration import Registration
from devcluster.node.service_table import ServiceTable
from devcluster.node.settings import HOST_IP, NodeSettings
from devcluster.node.sources import Sources

_log = structlog.get_logger(__name__)
NAMESPACES = "volumes are mounted at their paths, in mount and process namespaces"


async def run_agent(settings: NodeSettings, stop: asyncio.Event) -> None:
    """Runs the node until ``stop`` is set. Raises KubeconfigError, ImageTableError, ApiError (cannot register)."""
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    images = load_image_table(settings.images_file)
    isolation = await _isolation(settings)
    addresses = PodAddresses(settings.data_folder / "addresses.json")
    async with ApiClient(load_kubeconfig(settings.kubeconfig)) as client, _probe_session() as http:
        events = EventRecorder(client, settings.name)
        context = NodeContext(
            node_name=settings.name,
            host_ip=HOST_IP,
            data_folder=settings.data_folder,
            images=images,
            client=client,
            sources=Sources(client),
            events=events,
            addresses=addresses,
            http=http,
            allocatable=allocatable(settings),
            isolated=isolation == NAMESPACES,
            backoff_initial_seconds=settings.backoff_initial_seconds,
            backoff_limit_seconds=settings.backoff_limit_seconds,
        )
        with contextlib.closing(addresses):
            await _serve(context, settings, Registration(client, settings, isolation), stop)


async def _isolation(settings: NodeSettings) -> str:
    problem: str | None = "switched off"
    if settings.isolation:
        folder = settings.data_folder / "isolation-check"
        folder.mkdir(exist_ok=True)
        problem = await isolation_problem(folder)
    if problem is None:
        return NAMESPACES
    message = f"none ({problem}): volumes are not mounted, pods find their token by the variable KUBECONFIG"
    _log.warning("containers have no namespaces of their own", reason=problem)
    return message


def _probe_session() -> aiohttp.ClientSession:
    """Each probe opens a connection of its own, as the kubelet's do."""
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    return aiohttp.ClientSession(connector=connector, headers={"User-Agent": "kube-probe/devcluster"})


async def _serve(context: NodeContext, settings: NodeSettings, registration: Registration, stop: asyncio.Event) -> None:
    shutil.rmtree(context.address_files_folder, ignore_errors=True)  # of Services that may be gone
    for folder in (context.pods_folder, context.address_files_folder):
        folder.mkdir(parents=True, exist_ok=True)
    await registration.register()
    pods = Pods(context)
    selector = {"fieldSelector": f"spec.nodeName={settings.name}"}
    reflector = Reflector(context.client, "/api/v1/pods", pods.on_change, parameters=selector)
    following = [asyncio.create_task(reflector.run()), asyncio.create_task(_forget_addresses(reflector, pods, context))]
    background = [asyncio.create_task(context.events.run()), asyncio.create_task(registration.run())]
    background.extend(_service_tasks(context, serve=settings.service_proxy))
    try:
        await _until_stopped(stop, [following[0], *background])
    finally:
        await _cancel(following)
        await pods.stop(settings.stop_grace_seconds)
        await _cancel(background)
        await registration.unready()
        _log.info("node stopped", node=settings.name)


def _service_tasks(context: NodeContext, *, serve: bool) -> list["asyncio.Task[None]"]:
    table = ServiceTable(context.client)
    parts: list[ServiceTable | AddressFiles | ServiceProxy] = [table, AddressFiles(table, context.address_files_folder)]
    if serve:
        parts.append(ServiceProxy(table, context.events))
    return [asyncio.create_task(part.run()) for part in parts]


async def _forget_addresses(reflector: Reflector, pods: Pods, context: NodeContext) -> None:
    await reflector.synced.wait()
    context.addresses.forget_except(pods.uids)


async def _until_stopped(stop: asyncio.Event, tasks: list["asyncio.Task[None]"]) -> None:
    """Waits for ``stop``; a part that ends by itself is a fault and is raised."""
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    for task in done - {stopping}:
        task.result()


async def _cancel(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_until_signal(settings: NodeSettings) -> None:
    """Runs the node until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run_agent(settings, stop)
