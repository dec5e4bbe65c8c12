"""Parts that belong to methods and are none."""
