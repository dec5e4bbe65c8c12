"""From the bytes of a photograph to crops of one size."""
