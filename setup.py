"""What pyproject.toml cannot say: folders beside the package are installed within it.

The repository has `configs/` and `experiments/` at its root. Installed there, folders of such names
would be in the way of everyone's own, so that they become `bccl_jax.configs` and
`bccl_jax.experiments`.
"""

import setuptools

WITHIN = ("configs", "experiments")

setuptools.setup(
    packages=[
        *setuptools.find_packages(include=["bccl_jax", "bccl_jax.*"]),
        # Files by path, and no package in the repository.
        "bccl_jax.configs",
        *(
            f"bccl_jax.{name}"
            for name in setuptools.find_packages(include=["experiments", "experiments.*"])
        ),
    ],
    package_dir={f"bccl_jax.{folder}": folder for folder in WITHIN},
)
