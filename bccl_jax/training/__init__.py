"""A run from its config to its last epoch: assembled, compiled, trained."""
