"""How JAX starts, and the devices that share a batch."""
