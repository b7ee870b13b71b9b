"""Single object tracking: a box is followed."""
