"""The paper's tables and figures, and studies of the project's own, as lists of runs."""
