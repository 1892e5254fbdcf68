"""What runs between the node agent and a container's own program; standard library only, so that it starts at once."""
