"""I/O behind small interfaces: the cluster, Prometheus, pods, the lease, events, the clock."""
