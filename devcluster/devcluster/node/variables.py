"""``$(VAR)`` in commands, arguments and environment values."""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces ``$(NAME)``; ``$$(NAME)`` gives ``$(NAME)``; a name that is not set is left as it stands.

    The rules are those of the Kubernetes API reference for Container.command.
    """

    def replacement(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return variables.get(match.group(1), match.group(0))

    return _REFERENCE.sub(replacement, text)
