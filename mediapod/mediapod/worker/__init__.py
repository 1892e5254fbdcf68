"""A media worker: the mediapod of one process behind a front."""
