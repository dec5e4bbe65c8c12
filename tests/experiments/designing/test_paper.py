"""Every figure that the catalogue says the paper prints, entry by entry with the paper's tables."""

import pytest

from experiments.designing.catalogue import EXPERIMENTS

# Kim & Ko 2025. CIFAR-100-LT at 100, 50, 10, then CIFAR-10-LT at 100, 50, 10; * is 4x wide.
TABLE1 = """
Logit adjustment  50.5   54.9   64.0   84.3   87.1   90.9
KCL               42.8   46.3   57.6   77.6   81.7   88.0
TSC               43.8   47.4   59.0   79.7   82.9   88.7
BCL               51.93  56.69  64.87  84.32  87.24  91.12
SBCL              44.9   48.7   57.9   -      -      -
CUDA              52.3   56.2   64.6   -      -      -
GLMC              43.55  52.69  62.27  84.47  86.53  90.92
BCCL              52.55  56.89  65.3   85.22  88.07  91.92
GLMC, 4x wide     55.88  61.08  70.74  87.75  90.18  94.04
BCCL, 4x wide     57.36  62.66  73.01  87.84  90.48  94.94
"""
# Many, medium, few, all.
TABLE2 = """
Logit adjustment  67.2  51.9  29.5  50.5
KCL               63.4  42.5  19.2  42.8
DRO-LT            64.7  50.0  23.8  47.3
BCL               67.2  53.1  32.9  51.93
SBCL              64.4  45.3  22.2  44.9
BCCL              68.1  53.9  34.5  52.55
"""
# ImageNet-LT, iNaturalist 2018.
TABLE3 = """
MetaSAug  47.4  65.6
SCL       49.8  66.4
LWS       49.9  65.9
KCL       51.5  68.6
DisAlign  52.9  69.5
SBCL      53.4  70.8
GCL       54.9  72.0
BCL       56.0  71.8
BCCL      57.1  72.3
"""
# CIFAR-100-LT at 100, 50, 10.
TABLE4 = """
L_SCL         48.37  52.18  59.21
L_SCL + L_CL  50.57  54.83  64.46
L_SCL + L_LC  50.44  55.31  63.87
BCCL          52.55  56.89  65.3
"""
FACTORS = (100.0, 50.0, 10.0)
CIFAR = [(name, factor) for name in ("cifar100", "cifar10") for factor in FACTORS]
COLUMNS = {
    "table1": [(where, "all") for where in CIFAR],
    "table2": [(("cifar100", 100.0), group) for group in ("many", "medium", "few", "all")],
    "table3": [((name, 0.0), "all") for name in ("imagenet_lt", "inaturalist2018")],
    "table4": [(("cifar100", factor), "all") for factor in FACTORS],
}
TABLES = {"table1": TABLE1, "table2": TABLE2, "table3": TABLE3, "table4": TABLE4}


@pytest.mark.parametrize("name", TABLES)
def test_a_tables_figures_are_the_papers(name):
    printed = {}
    for line in filter(None, TABLES[name].split("\n")):
        row, *cells = [part.strip() for part in line.split("  ") if part.strip()]
        columns = zip(COLUMNS[name], cells, strict=True)
        printed[row] = {column: float(cell) for column, cell in columns if cell != "-"}
    declared = {
        row.name: {
            (where, group): figure
            for where, figures in row.paper.items()
            for group, figure in figures.items()
        }
        for row in EXPERIMENTS[name].rows
        if row.paper
    }
    assert declared == printed


def test_the_figures_curves_have_what_the_text_prints():
    # Figure 4's bars are read off the picture; the text prints 52.55 for each of the three alone.
    printed = {
        (name, row.value): row.paper["cifar100", 100.0]["all"]
        for name in ("figure3", "figure4", "figure5")
        for row in EXPERIMENTS[name].rows
        if row.paper
    }
    assert printed == {
        ("figure3", 5): 52.55,
        ("figure4", "kmeans"): 52.55,
        ("figure4", "mean_shift"): 52.0,
        ("figure4", "affinity_propagation"): 52.2,
        ("figure5", 0.1): 52.55,
    }
