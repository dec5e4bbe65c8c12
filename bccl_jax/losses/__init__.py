"""Loss functions over arrays."""
