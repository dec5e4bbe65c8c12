"""Copies of data sets in few large files."""
