"""What jointly trained trackers share; nothing here knows a system's name."""
