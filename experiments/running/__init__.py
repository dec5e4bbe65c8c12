"""How it is run: plans, worker processes, and with what code."""
