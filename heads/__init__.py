"""Training-free heads: tensors in, tensors out. A leaf: imports nothing of unibench."""
