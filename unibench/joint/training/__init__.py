"""The trainer of all joint trackers."""
