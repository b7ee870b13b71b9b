"""Frozen model + training-free head = tracker: one family a file, each with the same `track` function."""
