"""What stands on the command line: help, and a sentence for each mistake."""
