"""What volumes show, where they are mounted, images, addresses."""

import base64
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.node.addresses import PodAddresses
from devcluster.node.downward import PodFacts
from devcluster.node.environment import MissingReferenceError, ObjectKey
from devcluster.node.images import ImageTableError, parse_image_table, repository
from devcluster.node.launch.root import covered_paths, folders_to_open
from devcluster.node.mounts import container_mounts
from devcluster.node.payload import FileContent, default_mode, object_bytes, sources_of, volume_files, volume_objects
from devcluster.node.pod_log import PodLog, tail
from devcluster.node.published_folder import publish
from devcluster.node.quantity import divided, parse_quantity

FACTS = PodFacts(
    {"metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "b"}}, "spec": {"containers": []}},
    "127.64.0.1",
    "127.0.0.1",
    "devnode",
    {},
)
CONFIG = ObjectKey("ConfigMap", "c")


def files(volume, objects=None):
    listed = sources_of(volume)
    return volume_files(listed, objects or {}, FACTS, default_mode(volume))


def test_a_config_map_shows_all_or_the_chosen_keys():
    content = {CONFIG: {"a": b"1", "b": b"2"}}
    assert files({"name": "v", "configMap": {"name": "c"}}, content) == {"a": FileContent(b"1"), "b": FileContent(b"2")}
    chosen = {"name": "c", "items": [{"key": "a", "path": "x/y", "mode": 0o400}], "defaultMode": 0o600}
    assert files({"name": "v", "configMap": chosen}, content) == {"x/y": FileContent(b"1", 0o400)}


def test_a_missing_object_is_named_unless_optional():
    with pytest.raises(MissingReferenceError, match='configmap "c" not found'):
        files({"name": "v", "configMap": {"name": "c"}}, {CONFIG: None})
    assert files({"name": "v", "configMap": {"name": "c", "optional": True}}, {CONFIG: None}) == {}


def test_secret_volumes_name_their_secret_differently():
    volume = {"name": "v", "secret": {"secretName": "s"}}
    assert volume_objects(sources_of(volume)) == {ObjectKey("Secret", "s")}
    encoded = base64.b64encode(b"\xff").decode()
    content = {ObjectKey("Secret", "s"): object_bytes("Secret", {"data": {"k": encoded}})}
    assert files(volume, content)["k"].content == b"\xff"


def test_downward_files():
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    assert files({"name": "v", "downwardAPI": {"items": items}})["labels"].content == b'a="b"'


def test_published_files_change_all_at_once(tmp_path):
    folder = tmp_path / "v"
    assert publish(folder, {"a": FileContent(b"1", 0o600), "d/b": FileContent(b"2")})
    assert not publish(folder, {"a": FileContent(b"1", 0o600), "d/b": FileContent(b"2")})
    assert ((folder / "a").read_bytes(), (folder / "d" / "b").read_bytes()) == (b"1", b"2")
    assert publish(folder, {"c": FileContent(b"3")})
    assert sorted(p.name for p in folder.iterdir() if not p.name.startswith("..")) == ["c"]
    assert len([p for p in folder.iterdir() if p.is_dir() and p.name.startswith("..") and not p.is_symlink()]) == 1


def test_mounts_with_sub_paths(tmp_path):
    container = {
        "volumeMounts": [
            {"name": "v", "mountPath": "/data", "readOnly": True},
            {"name": "v", "mountPath": "/one", "subPathExpr": "$(POD)/x"},
        ]
    }
    mounts = container_mounts(container, {"v": tmp_path}, {"POD": "p"})
    assert [(m.source, m.target, m.read_only) for m in mounts] == [
        (str(tmp_path), "/data", True),
        (str(tmp_path / "p/x"), "/one", False),
    ]


def test_a_sub_path_cannot_leave_its_volume(tmp_path):
    container = {"volumeMounts": [{"name": "v", "mountPath": "/data", "subPath": "../x"}]}
    with pytest.raises(ValueError, match=r"\.\./x"):
        container_mounts(container, {"v": tmp_path}, {})


def test_only_folders_in_which_something_is_missing_are_opened(tmp_path):
    (tmp_path / "there").mkdir()
    targets = [f"{tmp_path}/there", f"{tmp_path}/new/a", f"{tmp_path}/new/a/inside", f"{tmp_path}/there/x", "/nowhere"]
    assert folders_to_open([targets[0]]) == []
    assert folders_to_open([targets[1], targets[2]]) == [str(tmp_path)]
    assert folders_to_open([targets[3], targets[1]]) == [str(tmp_path), f"{tmp_path}/there"]
    assert folders_to_open([targets[4]]) == []


def test_paths_that_a_volume_covers_are_shown_again():
    kept = ["/tmp/clone/.venv", "/tmp/clone", "/usr", "/tmpfiles", "/data/x"]
    assert covered_paths(kept, ["/tmp", "/data"]) == ["/data/x", "/tmp/clone"]
    assert covered_paths(kept, ["/etc"]) == []


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("ghcr.io/rtcscale/mediapod:0.1.0", "ghcr.io/rtcscale/mediapod"),
        ("localhost:5000/a/b", "localhost:5000/a/b"),
        ("localhost:5000/a/b:1@sha256:00", "localhost:5000/a/b"),
        ("nginx", "nginx"),
    ],
)
def test_image_repositories(image, name):
    assert repository(image) == name


@pytest.mark.parametrize("content", [[], {"a": "string"}, {"a": []}, {"a": {"argv": ["x"], "other": 1}}, {"a": [1]}])
def test_wrong_image_tables_are_refused(content):
    with pytest.raises(ImageTableError):
        parse_image_table(content)


def test_image_tables_take_lists_and_mappings():
    table = parse_image_table({"a": ["x", "y"], "b": {"argv": ["z"], "env": {"N": 1}, "workingDir": "/w"}})
    assert table["a"].argv == ("x", "y")
    assert (table["b"].environment, table["b"].working_directory) == ({"N": "1"}, "/w")


def test_python_stands_for_this_interpreter():
    assert parse_image_table({"a": ["python", "-V"]})["a"].argv == (sys.executable, "-V")


def test_addresses_are_kept_and_never_given_twice(tmp_path):
    first = PodAddresses(tmp_path / "a.json", seed=1)
    address = first.claim("one")
    assert address == first.claim("one")
    rival = PodAddresses(tmp_path / "b.json", seed=1)  # draws the same numbers, as another cluster might
    other = rival.claim("two")
    assert other != address
    first.close()
    again = PodAddresses(tmp_path / "a.json", seed=2)
    assert again.claim("one") == address
    again.forget_except(set())
    assert (tmp_path / "a.json").read_text() == "{}"
    rival.close()


def test_a_broken_address_file_is_not_fatal(tmp_path):
    file = tmp_path / "a.json"
    file.write_text("{")
    addresses = PodAddresses(file)
    assert addresses.claim("u").startswith("127.64.")
    addresses.close()


def test_logs_are_bounded(tmp_path):
    path = tmp_path / "c.log"
    log = PodLog(path, largest_bytes=100)
    for _ in range(50):
        log.write(b"0123456789")
    log.write(b"end")
    log.close()
    sizes = [p.stat().st_size for p in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= 110
    assert tail(path) == "end"


@pytest.mark.parametrize(
    ("text", "value"), [("250m", "0.25"), ("1Ki", "1024"), ("2k", "2000"), ("1e3", "1000"), ("5", "5")]
)
def test_quantities(text, value):
    assert str(parse_quantity(text).normalize()) == str(parse_quantity(value).normalize())


@pytest.mark.parametrize("text", ["", "x", "1Xi"])
def test_wrong_quantities_are_named(text):
    with pytest.raises(ValueError, match="quantity"):
        parse_quantity(text)


@given(st.integers(0, 10**9))
def test_division_rounds_up(number):
    assert divided(str(number), "1k") * 1000 >= number
    assert (divided(str(number), "1k") - 1) * 1000 < number
