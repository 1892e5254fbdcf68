"""Placement: an offer that arrives here may be served by an emptier pod of the pipeline."""

from mediapod.placement.choice import Load, choose_peer
from mediapod.placement.forwarding import Answer, Hop, OwnerUnknown, OwnerUnreachable, Placement
from mediapod.placement.peers import owner_of

__all__ = ["Answer", "Hop", "Load", "OwnerUnknown", "OwnerUnreachable", "Placement", "choose_peer", "owner_of"]
