import itertools

import pytest

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from experiments.designing.catalogue import EXPERIMENTS
from experiments.designing.design import VALIDATION_FRACTION, Experiment, Row, Scale, cells
from experiments.designing.hashing import hash_of
from experiments.designing.lengths import shrink
from experiments.designing.recipes import CONFIGS, get_config

ROW_KEYS = {
    "figure3": "method.num_centroids",
    "figure4": "method.clustering",
    "weights": "method.preset",
    "queue_size": "method.queue_size",
    "class_average": "method.class_average",
    "refresh_interval": "method.refresh_epochs",
    "temperature": "method.temperature",
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_cell_of_every_experiment_is_a_config_that_trains(name):
    found = cells(EXPERIMENTS[name], Scale(seeds=1))
    assert found
    for cell in found:
        validate(cell.config)
    on_validation = EXPERIMENTS[name].on_validation
    share = VALIDATION_FRACTION if on_validation else 0
    assert {cell.config.data.validation_fraction for cell in found} == {share}
    assert {cell.full_size for cell in found} == {not on_validation}


@pytest.mark.parametrize("name", ROW_KEYS)
def test_the_row_called_bccl_has_the_default_of_what_a_study_varies(name):
    experiment = EXPERIMENTS[name]
    row = next(row for row in experiment.rows if row.name == "BCCL")
    assert default.flatten(get_config("cifar100", "bccl"))[ROW_KEYS[name]] == row.value
    assert all(row.changes == {ROW_KEYS[name]: row.value} for row in experiment.rows[1:])


def test_the_default_weight_of_the_centroid_loss_is_figure_5s_first():
    found = cells(EXPERIMENTS["figure5"], Scale(seeds=1))
    weights = {cell.row: methods.create(cell.config.method).weights[1] for cell in found}
    values = {row.name: row.value for row in EXPERIMENTS["figure5"].rows}
    assert weights == values


def test_table_4_drops_the_terms_that_its_rows_lack():
    settings = {
        cell.row: (cell.config.method.centroid_loss, cell.config.method.logit_compensation)
        for cell in cells(EXPERIMENTS["table4"], Scale(seeds=1, imbalances=(100.0,)))
    }
    assert settings == {
        "BCCL": (True, True),
        "BCCL, released code": (True, True),
        "L_SCL": (False, False),
        "L_SCL + L_CL": (True, False),
        "L_SCL + L_LC": (False, True),
    }


def test_printed_figures_agree_between_tables_that_print_them_twice():
    printed = {
        (row.name, where): figures["all"]
        for name in ("table1", "table2", "table4", "figure3", "figure4", "figure5")
        for row in EXPERIMENTS[name].rows
        for where, figures in row.paper.items()
    }
    again = [
        ((row.name, where), figures["all"])
        for name in ("table1", "table2", "table4", "figure3", "figure4", "figure5")
        for row in EXPERIMENTS[name].rows
        for where, figures in row.paper.items()
    ]
    assert all(printed[key] == figure for key, figure in again)
    assert printed["BCCL", ("cifar100", 100.0)] == 52.55
    assert printed["BCCL, 4x wide", ("cifar10", 10.0)] == 94.94


def test_all_rows_come_first_then_seeds_then_factors_then_data_sets():
    found = cells(EXPERIMENTS["table1"], Scale(seeds=2))
    places = [(cell.dataset, cell.imbalance, cell.seed) for cell in found]
    expected = itertools.product(("cifar100", "cifar10"), (100.0, 50.0, 10.0), (0, 1))
    assert list(dict.fromkeys(places)) == list(expected)
    rows = [
        "BCCL", "BCCL, released code", "Cross-entropy", "Logit adjustment", "KCL", "TSC",
        "BCL", "SBCL", "CUDA", "GLMC", "GLMC, 4x wide", "BCCL, 4x wide",
    ]  # fmt: skip
    assert [cell.row for cell in found[: len(rows) + 1]] == [*rows, "BCCL"]


def test_a_hash_forgets_the_seed_and_where_data_lies_and_nothing_else():
    flat = default.flatten(default.get_config())
    same = {**flat, "seed": 7, "data.dir": "elsewhere", "data.workers": 3, "devices": 8}
    assert hash_of(same) == hash_of(flat)
    for key in ("method.queue_size", "epochs", "data.validation_fraction", "optimizer.momentum"):
        assert hash_of({**flat, key: flat[key] + 1}) != hash_of(flat), key


def test_cells_of_two_experiments_share_the_run_that_both_have():
    hashes = [
        {cell.row: cell.config_hash for cell in cells(EXPERIMENTS[name], Scale(seeds=1))}["BCCL"]
        for name in ("figure3", "figure4", "figure5", "table2")
    ]
    assert len(set(hashes)) == 1


def test_a_scale_changes_every_cell_alike():
    scale = Scale(
        seeds=1, datasets=("cifar100",), imbalances=(10.0,), epochs=40, backbone="resnet8"
    )
    found = cells(EXPERIMENTS["table1"], scale)
    assert "BCCL, 4x wide" not in [cell.row for cell in found]
    for cell in found:
        assert not cell.full_size
        assert cell.config.model.backbone == "resnet8"
        warmup = 2 if cell.row == "BCCL, released code" else 1
        assert (cell.config.epochs, cell.config.optimizer.warmup_epochs) == (40, warmup)
        assert cell.config.data.imbalance == 10
    assert found[0].config.method.warmup_epochs == 4


def test_warm_ups_and_steps_shrink_in_proportion():
    config = default.get_config()
    shrink(config, 50)
    assert config.optimizer.step_epochs == (40, 45)
    assert config.optimizer.warmup_epochs == 1
    assert config.method.warmup_epochs == 5
    assert config.method.refresh_epochs == 5
    config = default.get_config()
    shrink(config, 5)
    assert config.optimizer.step_epochs == (4, 4.5)
    validate(config)


def test_a_data_set_beside_the_papers_keeps_its_own_factor():
    found = cells(EXPERIMENTS["table4"], Scale(seeds=1, datasets=("digits",)))
    assert {cell.imbalance for cell in found} == {20.0}
    assert not any(cell.full_size for cell in found)


def test_impossible_designs_are_refused():
    with pytest.raises(
        ConfigError, match="--dataset: no data set is called 'mnist'; there are cifar10"
    ):
        cells(EXPERIMENTS["table4"], Scale(datasets=("mnist",)))
    odd = Experiment("odd", (Row("BCCL", changes={"method.queues": 3}),))
    with pytest.raises(ConfigError, match="'BCCL' changes method.queues, which is no key of cif"):
        cells(odd, Scale())
    with pytest.raises(ValueError, match="repeat or lack"):
        Experiment("twice", (Row("BCCL"), Row("BCCL")))


def test_every_data_set_of_the_command_line_has_a_config():
    for name in CONFIGS:
        validate(get_config(name, "bccl"))


def test_the_grid_halves_and_doubles_what_each_data_set_has():
    """CIFAR-100-LT at its own size and the small one have rates of their own."""
    rows = {row.name: row for row in EXPERIMENTS["tuning"].rows}
    names = {name.partition(",")[0] for name in rows}
    assert names == set(methods.shipped())
    chosen = [name for name in rows if name.startswith(("bcl", "crt"))]
    for dataset in ("cifar100", "cifar100_small"):
        grid = Experiment("grid", tuple(rows[name] for name in chosen), reference="bcl")
        found = {c.row: c.config for c in cells(grid, Scale(seeds=1, datasets=(dataset,)))}
        for method in ("bcl", "crt"):
            base = found[method].optimizer
            for key in ("learning_rate", "weight_decay"):
                for factor in (0.5, 2):
                    name = f"{method}, {key.replace('_', ' ')} x {factor:g}"
                    assert getattr(found[name].optimizer, key) == factor * getattr(base, key)
        assert found["bcl, weight_contrastive x 0.5"].method.weight_contrastive == 0.3
        assert found["bcl, weight_contrastive x 2"].method.weight_contrastive == 1.2
    odd = Experiment("odd", (Row("BCCL", scaled={"optimizer.rate": 2}),))
    with pytest.raises(ConfigError, match="'BCCL' changes optimizer.rate, which is no key"):
        cells(odd, Scale(seeds=1))


def test_the_grid_halves_and_doubles_the_weight_that_a_method_has_there():
    """On photographs BCL weighs its contrast otherwise; BCCL leaves it to the preset."""
    own = {"bcl": 0.35, "bccl": 1.0}
    rows = tuple(r for r in EXPERIMENTS["tuning"].rows if r.name.partition(",")[0] in own)
    grid = Experiment("grid", rows, reference="bcl")
    found = {c.row: c.config for c in cells(grid, Scale(seeds=1, datasets=("imagenet_lt",)))}
    for method, weight in own.items():
        for factor in (0.5, 2):
            config = found[f"{method}, weight_contrastive x {factor:g}"]
            assert config.method.weight_contrastive == factor * weight


def test_a_multiple_of_what_follows_the_size_of_the_data_is_refused():
    """A folder's learning rate is 0 in its config, and twice of that would be the same run."""
    rows = (Row("BCCL"), Row("twice", scaled={"optimizer.learning_rate": 2}))
    with pytest.raises(ConfigError, match=r"'twice' has a multiple of config.optimizer.learning_r"):
        cells(Experiment("folder", rows), Scale(seeds=1, datasets=("folder",), data_dir="photos"))


@pytest.mark.parametrize("name", ["bccl_plus_parts", "plateau"])
def test_what_a_row_sets_shrinks_with_the_epochs(name):
    """19 epochs of warm-up are a quarter of the run of 75 that they were chosen for."""
    scale = Scale(seeds=1, datasets=("cifar100_middle",), epochs=15)
    for cell in cells(EXPERIMENTS[name], scale):
        validate(cell.config)
        if cell.row.startswith("19 epochs"):
            assert cell.config.optimizer.warmup_epochs == 4
