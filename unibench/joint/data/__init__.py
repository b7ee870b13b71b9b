"""Annotated images that joint trackers learn from."""
