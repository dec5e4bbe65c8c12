"""How parameters are renewed: schedules and optimizers of optax."""
