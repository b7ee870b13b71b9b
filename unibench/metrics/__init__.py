"""Metrics, one family a file: `tally(truth, prediction)` counts one clip, `pool(tallies)` sums and divides."""
