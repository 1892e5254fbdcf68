"""The front of a pod of several processes: it takes HTTP, hands sessions to media workers and keeps these running."""
