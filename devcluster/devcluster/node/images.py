"""Which program stands for which container image. Nothing outside this table is ever started."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


class ImageTableError(ValueError):
    """The image table file cannot be used; the message names the entry and what is expected."""


@dataclass(frozen=True)
class Program:
    """The entry point of an image: ``argv`` takes the place of ENTRYPOINT, ``environment`` of the image's ENV."""

    argv: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    working_directory: str | None = None
    address_files: dict[str, str] = field(default_factory=dict)
    """Variables that name a headless Service, each with the Service's port: the program is given the path of a file
    with the addresses, because no DNS answers here."""


ImageTable = dict[str, Program]
"""Image repository, without tag and digest, to program."""


def repository(image: str) -> str:
    """``ghcr.io:443/team/app:1.2@sha256:...`` -> ``ghcr.io:443/team/app``."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def parse_image_table(content: Any) -> ImageTable:
    """``{repository: [argv...]}`` or ``{repository: {argv: [...], env: {...}, workingDir: ..., addressFiles: {...}}}``.

    The word ``python`` at the start of argv stands for the interpreter that runs the node. Raises ImageTableError.
    """
    if not isinstance(content, dict):
        raise ImageTableError("the image table must be a mapping from image repository to argv")
    return {str(name): _program(str(name), entry) for name, entry in content.items()}


_FIELDS = {"argv", "env", "workingDir", "addressFiles"}


def _program(name: str, entry: Any) -> Program:
    fields = {"argv": entry} if isinstance(entry, list) else entry
    if not isinstance(fields, dict) or set(fields) - _FIELDS:
        raise ImageTableError(f"image {name}: expected a list (argv) or a mapping with {', '.join(sorted(_FIELDS))}")
    argv = fields.get("argv")
    if not isinstance(argv, list) or not argv or not all(isinstance(part, str) for part in argv):
        raise ImageTableError(f"image {name}: argv must be a non-empty list of strings, got {argv!r}")
    environment, address_files = _texts(fields.get("env")), _texts(fields.get("addressFiles"))
    if argv[0] == "python":
        argv = [sys.executable, *argv[1:]]
    return Program(tuple(argv), environment, fields.get("workingDir"), address_files)


def _texts(mapping: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in (mapping or {}).items()}


def load_image_table(path: Path) -> ImageTable:
    """Reads a YAML or JSON file. Raises ImageTableError."""
    try:
        return parse_image_table(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError) as error:
        raise ImageTableError(f"image table {path}: {error}") from error
