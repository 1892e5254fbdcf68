"""Which installed versions are accepted, and what recipes say."""

import pytest

from devcluster.binaries.versions import (
    CATALOGUE,
    CONTROL_PLANE,
    GO,
    KUBERNETES,
    at_least,
    helm_fits,
    kubectl_skew,
    parse_version,
    same_minor,
)


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("Kubernetes v1.36.3\n", (1, 36, 3)),
        ("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0", (1, 32, 4)),
        ("etcd Version: 3.6.16\nGit SHA: x", (3, 6, 16)),
        ("prometheus, version 2.42.0+ds (branch: debian/sid)", (2, 42, 0)),
        ("v3.20.2+gdeadbee", (3, 20, 2)),
        ("command not found", None),
    ],
)
def test_versions_are_read_from_answers(answer: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(answer) == version


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ((1, 34, 9), False),
        ((1, 35, 0), True),
        ((1, 36, 0), True),
        ((1, 37, 1), True),
        ((1, 38, 0), False),
        ((2, 36, 0), False),
    ],
)
def test_kubectl_may_differ_by_one_minor(version: tuple[int, int, int], fits: bool) -> None:
    assert kubectl_skew(version) is fits


@pytest.mark.parametrize(
    ("version", "fits"), [((1, 35, 9), False), ((1, 36, 0), True), ((1, 36, 9), True), ((1, 37, 0), False)]
)
def test_servers_are_of_one_minor(version: tuple[int, int, int], fits: bool) -> None:
    assert same_minor(version) is fits


def test_minimum_and_helm() -> None:
    assert at_least(3, 5, 0)((3, 5, 0))
    assert not at_least(3, 5, 0)((3, 4, 99))
    assert [helm_fits(version) for version in ((2, 17, 0), (3, 8, 0), (4, 3, 1), (5, 0, 0))] == [
        False,
        True,
        True,
        False,
    ]


def test_every_pin_fits_its_own_rule() -> None:
    for binary in CATALOGUE.values():
        version = parse_version(binary.version)
        assert version is not None, binary.name
        assert binary.fits(version), binary.name
    assert set(CONTROL_PLANE) <= set(CATALOGUE)
    assert parse_version(GO) is not None


def test_kubernetes_programs_say_their_version() -> None:
    recipe = CATALOGUE["kube-apiserver"].go
    assert f"version.gitVersion=v{KUBERNETES}" in recipe.linker_flags
    assert recipe.folder_replacements == f"0{KUBERNETES[1:]}"
