"""The HTTP interface: one application for users, one for the operator, probes and Prometheus."""
