"""What goes wrong with runs, done to them on purpose: python -m faults."""
