"""The machine: its environment, folders, processes, and what is printed."""
