"""The two ways of feeding images: resident on the device, or read through grain."""
