"""Parts of networks that several joint trackers share."""
