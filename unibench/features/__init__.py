"""Feature maps of frozen models: one pass for all that reads them, a cache, a probe."""
