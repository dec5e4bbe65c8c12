"""What was measured: records of runs, gathered and compared."""
