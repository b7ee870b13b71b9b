"""Comparisons of papers, done again at the size of a toy: one module an experiment, each with a function `run`."""
