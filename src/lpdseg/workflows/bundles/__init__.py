"""A run → a bundle that can be given away."""
