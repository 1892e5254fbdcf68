"""The node of the local cluster: runs pods as ordinary processes of this machine."""
