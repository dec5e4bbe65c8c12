import numpy as np
import pytest

from experiments.records import results
from experiments.records.results import Paths
from experiments.running import measuring, provenance, training
from tests.experiments.running.made_up import digits
from tests.tiny import shrink
from tests.training.conftest import _two_layers  # noqa: F401


@pytest.mark.usefixtures("_two_layers")
def test_a_cell_becomes_a_record(tmp_path):
    (cell,) = digits(3)
    config = cell.config
    config.model.backbone = "two_layers"
    config.seed, config.epochs, config.eval.every_epochs = 3, 4, 2
    config.optimizer.warmup_epochs = 1
    config.optimizer.ema = 0.9
    shrink(config.method)
    paths, code = Paths(tmp_path), provenance.code()
    record = training.run(cell, paths, code)
    results.append(paths.results, record)
    assert results.load(paths.results) == [record]
    assert (record["config_hash"], record["seed"]) == (cell.config_hash, 3)
    assert (record["evaluated_on"], record["images"], record["last"]["epoch"]) == ("test", 797, 4)
    assert record["class_counts"][0] == 100
    assert record["batch_size"] == 64
    correct = results.unpack(record["correct"], 797)
    # Digits has unequal classes, so that the mean over images is another than over classes.
    assert abs(100 * correct.mean() - record["last"]["all"]) < 5
    assert [point["epoch"] for point in record["curve"]] == [2, 4]
    averaged = record["ema"]["last"]
    assert averaged["all"] != record["last"]["all"]
    long = {"per_class", "reliability", "test_priors"}
    assert record["curve"][-1]["ema"] == {k: averaged[k] for k in averaged.keys() - long}
    assert long < record["last"].keys()
    # Four epochs by quarters.
    assert {len(values) for values in record["course"].values()} == {16}
    assert all(float(f"{v:.4g}") == v for values in record["course"].values() for v in values)
    assert record["course"].keys() >= {"cosine_within", "cosine_between", "contrastive_gradient"}
    assert [point["epoch"] for point in record["feature_space"]] == [2, 4]
    assert record["feature_space"][-1]["projector"].keys() == (
        record["feature_space"][-1]["backbone"].keys()
    )
    again = training.run(cell, paths, code)
    assert again["correct"] == record["correct"]
    assert again["seconds"] == record["seconds"]


def test_measured_images_are_the_first_of_each_class():
    labels = np.array([2, 0, 2, 1, 2, 0, 0, 0])
    assert measuring._first_of_each_class(labels, 2).tolist() == [0, 1, 2, 3, 5]
