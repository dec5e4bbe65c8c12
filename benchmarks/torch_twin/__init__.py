"""A PyTorch twin of the three-view BCCL step: an opponent in speed and an oracle of the losses.

Written from the paper's equations as a PyTorch engineer would write them. Nothing here that runs
beside torch imports JAX, so that each side may live in an environment of its own.
"""
