"""Architectures that no library offers, each behind the loader `python`: images in, {node: map} out."""
