"""A model of users, pods, Kubernetes and Prometheus around the production law, and other laws to compare it with.

Pure: chance is an argument, time is counted. One run is `World(spec, load, surroundings, controller, rng).run()`.
"""
