"""The paper's tables and figures, and studies of the project's own, as lists of runs."""

# Before matplotlib, for which it makes MPLBACKEND harmless.
import bccl_jax.reporting  # noqa: F401
