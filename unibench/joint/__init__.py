"""Trackers that were trained as trackers."""
