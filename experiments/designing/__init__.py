"""What is to be run: experiments by name, and the runs that they make."""
