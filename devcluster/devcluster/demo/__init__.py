"""`make demo`: the product's main job on a real control plane, with real WebRTC load and a verdict that can fail."""
