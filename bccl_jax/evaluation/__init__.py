"""Predictions of a split and the figures of the long-tail protocol."""
