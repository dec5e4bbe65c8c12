"""A run's directory: what is kept there, and the rule that it is one run's."""
