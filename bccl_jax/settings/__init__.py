"""What a setting may be, and which one was meant."""
