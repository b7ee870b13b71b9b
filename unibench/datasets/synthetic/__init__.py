"""Rendered clips: nothing is read from disk."""
