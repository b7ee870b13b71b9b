"""Uncertainty: intervals over clips, paired tests, correlations."""
