"""What may lie in a directory that holds no run."""

from bccl_jax.system import digests

# The picture of the views, which may be made before the run.
VIEWS = "views.png"
_RECORDS = ("splits", "classes", "sized", "image_shape", "inputs", "images", "places", "config")
_RECORDS += ("first_stage",)
# That, and what a run that failed before its first step may have left.
REMAINS = (
    ".lock",
    VIEWS,
    "images.npz",
    digests.LIST,
    f"{digests.LIST}.tmp",
    *(f"{name}.tmp" for name in _RECORDS),
    *(f"{name}.json" for name in _RECORDS if name not in ("images", "config")),
)
