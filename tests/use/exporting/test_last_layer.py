"""The prediction of any method as one layer over the features, compared with its weights."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax import methods
from bccl_jax.errors import BcclError, ConfigError
from bccl_jax.losses.classification import post_hoc_offset
from bccl_jax.methods.cross_entropy import CrossEntropy
from bccl_jax.use.exporting.last_layer import last_layer
from bccl_jax.use.exporting.predictor import predictor
from tests.registered import registered
from tests.use.exporting.small import COUNTS, saved_run

pytestmark = pytest.mark.usefixtures("_two_layers")

# Of each what is made of the classifier's parameters: the dense layer's, and one of its own.
LINEAR = {
    "bccl": lambda dense, own: (dense["kernel"], dense["bias"]),
    "glmc": lambda dense, own: (dense["kernel"], dense["bias"]),
    "cuda_bccl": lambda dense, own: (dense["kernel"], dense["bias"]),
    "lws": lambda dense, own: (dense["kernel"] * own["scale"], dense["bias"] * own["scale"]),
    "tau_norm": lambda dense, own: (
        dense["kernel"] / np.linalg.norm(dense["kernel"], axis=0) ** own["tau"],
        np.zeros(4),
    ),
}


def dense_of(params):
    return params["Dense_0"] if "Dense_0" in params else dense_of(params["classifier"])


@pytest.mark.parametrize("method", LINEAR)
def test_what_a_method_does_to_the_weights_is_within_the_layer(method):
    saved = saved_run(method)
    head = saved.variables.params["heads_classifier"]
    own = {**head, **(saved.variables.method if method == "tau_norm" else {})}
    kernel, bias = LINEAR[method](dense_of(head), own)
    layer, difference = last_layer(predictor(saved))
    assert layer.kind == "linear"
    assert layer.weight.dtype == layer.bias.dtype == np.float32
    np.testing.assert_allclose(layer.weight, kernel.T, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(layer.bias, bias, rtol=1e-6, atol=1e-7)
    assert difference < 1e-5


def test_weights_that_nothing_is_done_to_are_the_same_bit_for_bit():
    saved = saved_run()
    dense = dense_of(saved.variables.params["heads_classifier"])
    layer, _ = last_layer(predictor(saved))
    np.testing.assert_array_equal(layer.weight, dense["kernel"].T)
    np.testing.assert_array_equal(layer.bias, dense["bias"])


def test_a_cosine_has_directions_and_its_scale():
    changes = {"method.classifier": "cosine", "method.classifier_scale": 7.0}
    saved = saved_run("cross_entropy", **changes)
    kernel = saved.variables.params["heads_classifier"]["kernel"]
    layer, _ = last_layer(predictor(saved))
    assert layer.kind == "cosine"
    wanted = 7 * (kernel / np.linalg.norm(kernel, axis=0)).T
    np.testing.assert_allclose(layer.weight, wanted, rtol=1e-5, atol=1e-6)
    assert not layer.bias.any()


def test_the_adjustment_is_within_the_bias():
    saved = saved_run()
    plain, adjusted = (last_layer(predictor(saved, adjust))[0] for adjust in (0, 0.5))
    offset = 0.5 * np.log(COUNTS / COUNTS.sum())
    np.testing.assert_allclose(plain.bias - adjusted.bias, offset, rtol=1e-5)
    np.testing.assert_allclose(post_hoc_offset(COUNTS, 0.5), offset, rtol=1e-5)
    np.testing.assert_array_equal(plain.weight, adjusted.weight)
    # As the run was evaluated, where nothing is said.
    evaluated = last_layer(predictor(saved_run(**{"eval.logit_adjustment": 0.5})))[0]
    np.testing.assert_array_equal(evaluated.bias, adjusted.bias)
    with pytest.raises(ConfigError, match="corrected twice"):
        predictor(saved_run("logit_adjustment"), 1.0)


@dataclasses.dataclass(frozen=True)
class Cooled(CrossEntropy):
    """Half the logits: a layer whatever it is called."""

    def logits(self, apply, params, images, state):
        return super().logits(apply, params, images, state) / 2


@dataclasses.dataclass(frozen=True)
class Bent(CrossEntropy):
    """No layer."""

    def logits(self, apply, params, images, state):
        return jnp.tanh(super().logits(apply, params, images, state))


@dataclasses.dataclass(frozen=True)
class Mirrored(CrossEntropy):
    """The mean over an image and its mirror image, of which features are none."""

    def logits(self, apply, params, images, state):
        both = (images, jnp.flip(images, axis=-2))
        return sum(super(Mirrored, self).logits(apply, params, x, state) for x in both) / 2


def test_methods_of_a_users_own_are_taken_by_what_they_compute():
    with registered(cooled=Cooled, bent=Bent, mirrored=Mirrored):
        assert "cooled" in methods.names()
        plain, _ = last_layer(predictor(saved_run()))
        layer, _ = last_layer(predictor(saved_run("cooled")))
        np.testing.assert_array_equal(layer.weight, plain.weight / 2)
        for name in ("bent", "mirrored"):
            with pytest.raises(BcclError) as told:
                last_layer(predictor(saved_run(name)))
            assert f"{name} over two_layers" in str(told.value)
            assert "\n" not in str(told.value)
