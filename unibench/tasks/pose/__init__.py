"""Pose propagation: joints are propagated."""
