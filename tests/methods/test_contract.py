"""What every method keeps to: one contract, over a network that compiles at once."""

import jax
import numpy as np
import pytest

from bccl_jax import methods
from bccl_jax.config.validation import validate
from bccl_jax.devices.jax_settings import usual
from bccl_jax.devices.mesh import split_over
from bccl_jax.errors import ConfigError
from bccl_jax.methods.seam.prior import carried_prior, is_flat
from bccl_jax.reporting import console
from bccl_jax.training.loop import train_and_evaluate
from tests.killed import check_resumed
from tests.tiny import NO_OFFSETS, tiny_config

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers")


# Of a stage or none, with contrast and without: everything that a run can add to a method.
WITH_OPTIONS = ("bccl with options", "crt with options")
OPTIONS = {
    "accumulation": 2,
    "label_smoothing": 0.1,
    "optimizer.ema": 0.9,
    "optimizer.sam_rho": 0.05,
    "augment.mixup_alpha": 0.4,
    "augment.cutmix_alpha": 1.0,
    "augment.mix_probability": 0.8,
}

# Of a method whose parts are off by default.
PARTS = {
    "bccl_plus": {
        "method.cutmix_probability": 0.5,
        "method.all_classified": True,
        "method.regmixup_weight": 1.0,
        "method.prior_factor": 0.9,
        "method.prototypes": True,
        "method.centroid_loss_form": "class",
        "method.images_per_centroid": 20,
    }
}


def small_config(method):
    """Two steps an epoch, four epochs, every change of stage and refresh within them."""
    name, _, options = method.partition(" with ")
    config = tiny_config(name)
    config.update_from_flattened_dict(OPTIONS if options else PARTS.get(name, {}))
    if options and name == "crt":
        # Half of what each of its two steps compiles would be a second way to mix.
        config.augment.mixup_alpha = 0.0
    config.model.backbone = "two_layers"
    config.batch_size = 160
    config.checkpoint.every_steps = 1
    # Where a checkpoint changes nothing none is written but those of evaluations.
    config.checkpoint.every_epochs = 4
    return config


# Made of parts that others have, which are beside them: the loss, the stages or the queue.
LIKE_OTHERS = {
    "balanced_softmax": "logit_adjustment",
    "scl": "bcl",
    "concutmix": "bcl",
    "gpaco": "paco",
    "tsc": "kcl",
    **dict.fromkeys(("lws", "tau_norm", "disalign", "mislas"), "crt"),
    **{name: "cuda_bccl" for name in methods.names() if name.startswith("cuda_")},
}


def _param(name):
    """What others of the list stand for is left to the slow tests."""
    doubled = name in WITH_OPTIONS or LIKE_OTHERS.get(name, name) != name
    return pytest.param(name, marks=pytest.mark.slow) if doubled else name


@pytest.fixture(scope="module", params=map(_param, (*methods.names(), *WITH_OPTIONS)))
def run(request, _two_layers, shared_assemblies, tmp_path_factory):
    """A method, its whole run, and how many programs had been compiled at each of its steps."""
    compiled, at_step = [], []
    advance = console.Progress.advance

    def counted(self, *args):
        advance(self, *args)
        at_step.append(len(compiled))

    def listen(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console.Progress, "advance", counted)
        workdir = tmp_path_factory.mktemp(request.param) / "run"
        result = train_and_evaluate(small_config(request.param), workdir)
    return request.param, result, at_step


def test_every_number_is_finite(run):
    _, result, _ = run
    for record in result.records:
        assert all(np.isfinite(value) for value in record["train"].values())
    for leaf in jax.tree.leaves((result.state.params, result.state.batch_stats)):
        assert np.all(np.isfinite(leaf))


def test_nothing_is_compiled_anew_within_a_stage(run):
    method, result, at_step = run
    stages = methods.create(small_config(method).method).stages(4)
    assert sum(stage.epochs for stage in stages) == 4
    # The last epoch is the second one of its stage at least; three calls an epoch.
    assert stages[-1].epochs > 1
    assert len(at_step) == 12
    last = at_step[-3:]
    assert last[0] == last[-1]
    assert len(result.records) == 4


def test_a_run_killed_in_mid_epoch_ends_where_the_whole_one_ends(run, tmp_path):
    """In the second step of the second epoch, and again in that of the third."""
    method, result, _ = run
    config = small_config(method)
    config.checkpoint.every_steps = 1
    check_resumed(result, config, tmp_path / "run", 5, 4)


def test_it_predicts_a_class_for_each_image(run, shared_assemblies):
    method, result, _ = run
    classifier = shared_assemblies(small_config(method)).classifier
    images = np.zeros((6, 8, 8, 3), np.uint8)
    predictions, confidences, _ = classifier.predict(result.state, images, *NO_OFFSETS)
    assert predictions.shape == confidences.shape == (6,)
    assert np.all((predictions >= 0) & (predictions < 10))
    assert np.all((confidences > 0) & (confidences <= 1))


def test_it_lowers_for_accelerators_that_are_not_there(run, shared_assemblies):
    method, _, _ = run
    assembled = shared_assemblies(small_config(method))
    split = split_over(assembled.mesh)
    # Of the method's further streams too.
    rows = 160 * (1 + len(assembled.method.streams))
    batch = {
        "image": jax.ShapeDtypeStruct((rows, 8, 8, 3), np.uint8, sharding=split),
        **dict.fromkeys(
            ("label", "index"), jax.ShapeDtypeStruct((rows,), np.int32, sharding=split)
        ),
    }
    # As the run traced it, so that it is not traced anew.
    with usual(), jax.set_mesh(assembled.mesh):
        for stage in assembled.stages:
            traced = jax.jit(stage.train_step).trace(assembled.abstract_state, batch)
            lowered = traced.lower(lowering_platforms=("cuda", "tpu"))
            assert "stablehlo" in lowered.as_text()


def test_a_prior_in_the_loss_is_not_taken_off_again(run):
    method, _, _ = run
    config = small_config(method)
    config.eval.logit_adjustment = 1.0
    made = methods.create(config.method)
    counts = np.array([900, 20, 3, 0])
    prior = carried_prior(made, config.epochs, config.data.sampler, counts)
    assert prior.sum() == pytest.approx(1)
    assert prior[3] == 0
    assert np.all(prior[:3] > 0)
    assert not made.prior_in_loss or is_flat(prior) or np.all(np.diff(prior[:3]) < 0)
    if made.prior_in_loss or is_flat(prior):
        with pytest.raises(ConfigError, match="corrected twice"):
            validate(config)
    else:
        validate(config)
