"""What a probe or a preStop hook does: httpGet, tcpSocket, exec. Results are values, never exceptions."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from devcluster.node.container_process import ContainerProcess
from devcluster.node.json_types import Json

_LARGEST_BODY_BYTES = 10 * 1024
Check = Callable[[float], Awaitable["CheckResult"]]
"""Runs the check once with a time-out in seconds."""


@dataclass(frozen=True)
class CheckResult:
    """Whether a check succeeded, and what to tell users if not."""

    succeeded: bool
    message: str = ""


@dataclass(frozen=True)
class CheckTarget:
    """The running container that is checked."""

    container: Json
    process: ContainerProcess
    pod_ip: str
    http: aiohttp.ClientSession

    def port(self, port: int | str) -> int:
        """A port's number from its number or its name. Raises ValueError."""
        if isinstance(port, int) or port.isdecimal():
            return int(port)
        for entry in self.container.get("ports") or ():
            if entry.get("name") == port:
                return int(entry["containerPort"])
        raise ValueError(f"port {port!r}: the container has no port of this name")


def check_of(handler: Json, target: CheckTarget) -> Check:
    """The check that a probe or lifecycle handler object asks for."""
    if "httpGet" in handler:
        return lambda timeout: _guarded(_http_get(handler["httpGet"], target, timeout), timeout)
    if "tcpSocket" in handler:
        return lambda timeout: _guarded(_tcp_socket(handler["tcpSocket"], target), timeout)
    if "exec" in handler:
        return lambda timeout: _exec(handler["exec"], target, timeout)
    if "sleep" in handler:
        return lambda timeout: _sleep(min(handler["sleep"]["seconds"], timeout))
    return lambda _: _unknown(handler)


async def _guarded(check: Awaitable[CheckResult], timeout: float) -> CheckResult:
    try:
        return await asyncio.wait_for(check, timeout)
    except TimeoutError:
        return CheckResult(False, f"timed out after {timeout:g}s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return CheckResult(False, str(error) or type(error).__name__)


async def _http_get(action: Json, target: CheckTarget, timeout: float) -> CheckResult:
    scheme, host = action.get("scheme", "HTTP").lower(), action.get("host") or target.pod_ip
    path = action.get("path") or "/"
    url = f"{scheme}://{host}:{target.port(action['port'])}{path if path.startswith('/') else '/' + path}"
    headers = {header["name"]: header["value"] for header in action.get("httpHeaders") or ()}
    async with target.http.get(
        url, headers=headers, allow_redirects=False, ssl=False, timeout=aiohttp.ClientTimeout(total=timeout)
    ) as response:
        body = await response.content.read(_LARGEST_BODY_BYTES)
    if 200 <= response.status < 400:
        return CheckResult(True, body.decode(errors="replace"))
    return CheckResult(False, f"HTTP probe failed with statuscode: {response.status}")


async def _tcp_socket(action: Json, target: CheckTarget) -> CheckResult:
    _, writer = await asyncio.open_connection(action.get("host") or target.pod_ip, target.port(action["port"]))
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return CheckResult(True)


async def _exec(action: Json, target: CheckTarget, timeout: float) -> CheckResult:
    try:
        result = await target.process.execute(action.get("command") or [], timeout)
    except OSError as error:
        return CheckResult(False, str(error))
    return CheckResult(result.exit_code == 0, result.output.strip())


async def _sleep(seconds: float) -> CheckResult:
    await asyncio.sleep(seconds)
    return CheckResult(True)


async def _unknown(handler: Json) -> CheckResult:
    return CheckResult(False, f"this node runs httpGet, tcpSocket and exec, not {sorted(handler)}")
