"""PromQL that a pipeline's author writes: does it parse, and does it stay within the pipeline's own namespace?

The operator may read every tenant's series; a query of one tenant must not. So each selector in it has to match on the
namespace, with "=" and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import promql_parser

_OPERANDS = ("expr", "lhs", "rhs", "param")
_EQUAL = "MatchOp.Equal"


def query_errors(query: str, namespace: str) -> Iterator[str]:
    """What is wrong with a query, in words; nothing when it may be asked."""
    try:
        parsed = promql_parser.parse(query)
    except ValueError as error:
        yield f"does not parse as PromQL: {str(error)[:200]}"
        return
    selectors = list(_selectors(parsed))
    if not selectors:
        yield "selects no series; it must measure something"
    for selector in selectors:
        if not _is_within(selector.matchers, namespace):
            yield f'must match on its namespace in every selector: add namespace="{namespace}" to {_shown(selector)}'


def _selectors(node: Any) -> Iterator[Any]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
        return
    if isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
        return
    for name in _OPERANDS:
        child = getattr(node, name, None)
        if child is not None:
            yield from _selectors(child)
    for child in getattr(node, "args", None) or ():
        yield from _selectors(child)


def _is_within(matchers: Any, namespace: str) -> bool:
    """With alternatives (`a="b" or c="d"`, an experimental form) each of them must match on the namespace."""
    if matchers.or_matchers:
        return all(_names(group, namespace) for group in matchers.or_matchers)
    return _names(matchers.matchers, namespace)


def _names(group: Any, namespace: str) -> bool:
    return any(one.name == "namespace" and str(one.op) == _EQUAL and one.value == namespace for one in group)


def _shown(selector: Any) -> str:
    return str(selector.name or "the selector without a name")
