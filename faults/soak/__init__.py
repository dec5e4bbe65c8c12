"""Long runs, watched for what grows: python -m faults.soak."""
