"""Batched image augmentation on the device, from uint8."""
