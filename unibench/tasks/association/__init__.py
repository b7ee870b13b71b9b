"""Multi-object tracking, MOTS and pose tracking: detections are linked to tracks."""
