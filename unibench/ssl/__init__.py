"""A zoo of our own: one small network and one diet of images, trained in minutes by many objectives."""
