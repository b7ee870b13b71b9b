"""A model card becomes feature maps."""
