"""Files with the addresses of headless Services, and the variables of pods that are pointed at them."""

import asyncio
from contextlib import suppress

import pytest

from devcluster.node.address_files import AddressFiles, address_file, file_for_name
from devcluster.node.downward import PodFacts
from devcluster.node.images import ImageTableError, parse_image_table
from devcluster.node.launch_plan import give_address_files
from devcluster.node.service_table import ServiceTable


def a_pod(name, address):
    return {
        "metadata": {"uid": name, "name": name, "namespace": "media", "labels": {"app": "studio"}},
        "spec": {"containers": [{"ports": [{"name": "admin", "containerPort": 9090}]}]},
        "status": {"podIP": address, "phase": "Running"},
    }


SERVICE = {
    "metadata": {"uid": "s", "name": "studio-pods", "namespace": "media"},
    "spec": {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {"app": "studio"},
        "ports": [{"name": "admin", "port": 9090, "targetPort": "admin"}],
    },
}


@pytest.fixture
async def table(tmp_path):
    """A table that no API server fills, and files that follow it."""
    table = ServiceTable(client=None)
    following = asyncio.create_task(AddressFiles(table, tmp_path).run())
    yield table
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  what is waited for is a file
            await asyncio.sleep(0.01)


async def test_the_file_follows_the_pods_and_goes_with_the_service(table, tmp_path):
    path = address_file(tmp_path, "media", "studio-pods", "admin")

    def says(*lines):
        return path.exists() and path.read_text().split() == list(lines)

    table._on_service("SET", SERVICE)
    await until(lambda: says())
    table._on_pod("SET", a_pod("a", "127.64.0.1"))
    table._on_pod("SET", a_pod("b", "127.64.0.2"))
    await until(lambda: says("127.64.0.1:9090", "127.64.0.2:9090"))
    table._on_pod("DELETED", a_pod("a", "127.64.0.1"))
    await until(lambda: says("127.64.0.2:9090"))
    table._on_service("DELETED", SERVICE)
    await until(lambda: not path.exists())


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("studio-pods", "media/studio-pods.admin"),
        ("studio-pods.other", "other/studio-pods.admin"),
        ("studio-pods.other.svc.cluster.local", "other/studio-pods.admin"),
    ],
)
def test_a_name_becomes_the_path_of_its_file(tmp_path, value, path):
    assert file_for_name(tmp_path, "media", value, "admin") == tmp_path / path
    program = parse_image_table({"image": {"argv": ["x"], "addressFiles": {"PEERS": "admin"}}})["image"]
    environment = {"PEERS": value, "OTHER": value}
    give_address_files(environment, program, facts(), tmp_path)
    assert environment == {"PEERS": str(tmp_path / path), "OTHER": value}


@pytest.mark.parametrize("environment", [{}, {"PEERS": ""}, {"PEERS": "/own/file"}])
def test_what_names_no_service_stays(tmp_path, environment):
    program = parse_image_table({"image": {"argv": ["x"], "addressFiles": {"PEERS": "admin"}}})["image"]
    after = dict(environment)
    give_address_files(after, program, facts(), tmp_path)
    assert after == environment


def test_a_field_that_the_image_table_does_not_have_is_named():
    with pytest.raises(ImageTableError, match="addressFiles"):
        parse_image_table({"image": {"argv": ["x"], "adressFiles": {}}})


def facts():
    return PodFacts({"metadata": {"name": "a", "namespace": "media"}}, "127.64.0.1", "127.0.0.1", "devnode", {})
