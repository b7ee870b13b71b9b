"""A zoo of our own: small networks that learn from one diet of images by many objectives."""
