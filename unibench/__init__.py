"""Measure how good a frozen visual representation is for tracking."""
