"""What of a run depends on its number of epochs."""

import numpy as np
import pytest

from bccl_jax import methods
from bccl_jax.config.lengthening import following
from bccl_jax.config.validation import validate
from bccl_jax.data.sampling import PROGRESSIVE, SAMPLERS, class_shares
from bccl_jax.methods.cross_entropy import CrossEntropy
from bccl_jax.optimization.schedule import FOLLOWING, SCHEDULES, create_schedule
from tests.tiny import tiny_config

COUNTS = np.array([40, 20, 10, 5, 3])


def config_of(method="cross_entropy", epochs=4, **changes):
    config = tiny_config(method)
    config.batch_size = 8
    config.optimizer.schedule = "constant"
    config.update_from_flattened_dict({"epochs": epochs, **changes})
    return config


def found(method="cross_entropy", epochs=4, more=6, **changes):
    now, then = (config_of(method, number, **changes) for number in (epochs, more))
    for config in (now, then):
        validate(config)
    return following(now, then, COUNTS)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_schedules_that_follow_the_epochs_are_known(schedule):
    changes = {"optimizer.schedule": schedule, "optimizer.step_epochs": (2.0, 3.5)}
    rates = [
        [
            float(create_schedule(config_of(epochs=epochs, **changes), 5)(np.int32(step)))
            for step in range(20)
        ]
        for epochs in (4, 6)
    ]
    assert (rates[0] != rates[1]) == (schedule in FOLLOWING)
    assert found(**changes) == ([f"its {schedule} learning rate"] if schedule in FOLLOWING else [])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_samplers_that_follow_the_epochs_are_known(sampler):
    early, late = (class_shares(sampler, COUNTS, progress) for progress in (0.2, 0.5))
    assert (early != late).any() == (sampler == PROGRESSIVE)
    expected = ["its progressive sampler"] if sampler == PROGRESSIVE else []
    assert found(**{"data.sampler": sampler}) == expected


@pytest.mark.parametrize("method", methods.names())
def test_of_each_method_it_is_known(method):
    # Two stages, of which the second has a schedule of its own and a fixed length.
    staged = ("crt", "lws", "disalign", "gcl", "mislas", "kcl")
    expected = {
        **{name: [f"the stages of {name}", "its cosine learning rate"] for name in staged},
        "tsc": ["the stages of tsc", "its cosine learning rate", "when tsc renews its state"],
        "tau_norm": [],
        "sbcl": ["the stages of sbcl", "its cosine learning rate", "when sbcl renews its state"],
        "dro_lt": ["the stages of dro_lt", "when dro_lt renews its state"],
        "meta_saug": ["the stages of meta_saug", "the state of meta_saug"],
        **{name: [f"the state of {name}"] for name in ("ldam_drw", "concutmix", "glmc")},
        **{
            name: [f"when {name} renews its state"]
            for name in ("cuda", "cuda_balanced_softmax", "cuda_bccl", "cuda_bcl")
        },
        "cuda_ldam_drw": ["the state of cuda_ldam_drw", "when cuda_ldam_drw renews its state"],
    }
    assert found(method) == expected.get(method, [])


def test_a_number_that_is_sized_to_the_epochs_is_named():
    changes = {"optimizer.warmup_epochs": -1}
    assert found(epochs=4, more=9, **changes) == ["its config.optimizer.warmup_epochs"]
    assert found(epochs=30, more=40, **changes) == []


def test_a_method_that_chooses_at_the_end_is_named():
    assert found("tau_norm", **{"method.tau": None}) == ["when tau_norm renews its state"]


def test_what_comes_at_the_same_epoch_either_way_is_no_matter():
    # From the first epoch on.
    assert found("ldam_drw", **{"method.deferred": 0.0}) == []
    assert found("cuda", more=5, **{"method.curriculum_epochs": 3}) == []


def test_a_progressive_stream_is_named(monkeypatch):
    monkeypatch.setattr(CrossEntropy, "streams", property(lambda self: (PROGRESSIVE,)))
    assert found() == ["its progressive sampler"]
