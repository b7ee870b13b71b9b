"""Video object segmentation: masks are propagated."""
