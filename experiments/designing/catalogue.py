"""Every experiment by name: the paper's tables and figures, then studies of the project's own."""

from . import improving, paper, studies, tuning
from .every_method import ALL_METHODS, ALL_METHODS_WIDE

EXPERIMENTS = {
    "figure1": paper.FIGURE1,
    "table1": paper.TABLE1,
    "table2": paper.TABLE2,
    "table3": paper.TABLE3,
    "table4": paper.TABLE4,
    "full_size": paper.FULL_SIZE,
    "all_methods": ALL_METHODS,
    "all_methods_wide": ALL_METHODS_WIDE,
    "figure3": paper.FIGURE3,
    "figure4": paper.FIGURE4,
    "figure5": paper.FIGURE5,
    "weights": studies.WEIGHTS,
    "queue_size": studies.QUEUE_SIZE,
    "class_average": studies.CLASS_AVERAGE,
    "refresh_interval": studies.REFRESH_INTERVAL,
    "temperature": studies.TEMPERATURE,
    "views": studies.VIEWS,
    "variants": studies.VARIANTS,
    "orders": studies.ORDERS,
    "readings": studies.READINGS,
    "classifier": studies.CLASSIFIER,
    "plateau": studies.PLATEAU,
    "queue_age": studies.QUEUE_AGE,
    "bccl_plus_parts": improving.BCCL_PLUS_PARTS,
    "tuning": tuning.TUNING,
}
