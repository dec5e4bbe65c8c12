"""Formats of data sets on a disk, each to splits."""
