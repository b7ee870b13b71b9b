"""Boxes, masks and canvases."""
