"""The shape of what the API server speaks."""

from typing import Any

Json = dict[str, Any]
"""A JSON object. Pods, Nodes and Services are read as such: this node needs few of their fields."""
