"""The model apart from its run: what predicts, and needs no data."""
