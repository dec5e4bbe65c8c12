"""What comes from outside, broken in a million ways: python -m faults.fuzzing."""
