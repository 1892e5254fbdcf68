"""Files with the addresses of headless Services: what pods read in place of DNS, which this cluster does not have."""

from pathlib import Path

from devcluster.node.endpoints import headless_ports
from devcluster.node.service_table import ServiceTable


def address_file(folder: Path, namespace: str, service: str, port: str) -> Path:
    """Where the addresses of a Service's port are; the file is there as soon as the Service is."""
    return folder / namespace / f"{service}.{port}"


def file_for_name(folder: Path, namespace: str, name: str, port: str) -> Path:
    """The file that stands for a DNS name as a pod in ``namespace`` would look it up: "web", "web.other.svc"."""
    service, _, rest = name.partition(".")
    return address_file(folder, rest.partition(".")[0] or namespace, service, port)


class AddressFiles:
    """Keeps one file for each named port of each headless Service: a line "address:port" for each of its pods."""

    def __init__(self, table: ServiceTable, folder: Path) -> None:
        self._table, self._folder = table, folder
        self._changed = table.subscribe()
        self._written: dict[Path, str] = {}

    async def run(self) -> None:
        """Brings the files up to date with every change, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._write(self._wanted())

    def _wanted(self) -> dict[Path, str]:
        ports = [port for service in self._table.services for port in headless_ports(service)]
        return {
            address_file(self._folder, port.namespace, port.service, port.name): "".join(
                f"{address}:{number}\n" for address, number in self._table.addresses(port)
            )
            for port in ports
        }

    def _write(self, wanted: dict[Path, str]) -> None:
        for path in set(self._written) - set(wanted):
            path.unlink(missing_ok=True)
        for path, text in wanted.items():
            if self._written.get(path) != text:
                _replace(path, text)
        self._written = wanted


def _replace(path: Path, text: str) -> None:
    """Readers see the old or the new content, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)
