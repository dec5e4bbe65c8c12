import json
import math

import jax
import jax.numpy as jnp
import pytest

from bccl_jax.clustering import kmeans
from bccl_jax.losses.contrastive import complement_and_centroid_loss
from bccl_jax.models import create_backbone
from benchmarks import flops, layers, recipe, work
from benchmarks.common import parser


def backbone_layers(name, side, images=1, **options):
    backbone = create_backbone(name, **options)
    shape = jax.ShapeDtypeStruct((images, side, side, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: backbone.init(jax.random.key(0), x, train=False), shape)

    def forward(variables, x):
        return backbone.apply(variables, x, train=False)

    return layers.layers(forward, variables, shape), jax.jit(forward).lower(variables, shape)


def resnet_macs(blocks, width, side):
    """He et al. 2015, section 4.2, by hand: a stem and three stages of 3x3 convolutions."""
    macs = 9 * 3 * width * side**2
    for stage in range(3):
        channels, before = width * 2**stage, width * 2 ** max(stage - 1, 0)
        area = (side // 2**stage) ** 2
        macs += 9 * area * channels * (before + (2 * blocks - 1) * channels)
    return macs


@pytest.mark.parametrize(
    ("name", "blocks", "width"), [("resnet8", 1, 16), ("resnet32", 5, 16), ("resnet32x4", 5, 64)]
)
def test_macs_are_those_of_the_architecture(name, blocks, width):
    found, _ = backbone_layers(name, 32, images=2)
    assert len(found) == 6 * blocks + 1
    assert sum(layer.macs for layer in found) == 2 * resnet_macs(blocks, width, 32)


def test_resnet32_has_the_69_million_of_the_literature():
    found, _ = backbone_layers("resnet32", 32)
    assert sum(layer.macs for layer in found) == 68_861_952


def test_macs_agree_with_xla_which_leaves_padding_out():
    found, lowered = backbone_layers("resnet32", 32)
    inside, side = 0.0, 32
    for layer in found:
        # Of three taps an axis, those on the padding: two at stride 1, one at stride 2.
        out = layer.shape[1]
        missing = 2 if out == side else 1
        inside += layer.macs * (1 - missing / (3 * out)) ** 2
        side = out
    # Normalisation, ReLU and shortcuts come on top.
    assert 1 <= lowered.cost_analysis()["flops"] / (2 * inside) < 1.03


def test_bytes_follow_the_dtype_of_the_activations():
    float32, bfloat16 = (
        backbone_layers("resnet8", 8, dtype=dtype)[0][0] for dtype in (jnp.float32, jnp.bfloat16)
    )
    weights = 4 * 9 * 3 * 16
    assert float32.forward_bytes == 4 * (8 * 8 * 3 + 3 * 8 * 8 * 16) + weights
    assert bfloat16.forward_bytes - weights == (float32.forward_bytes - weights) / 2
    assert bfloat16.backward_bytes == 2 * (2 * 8 * 8 * 3 + 7 * 8 * 8 * 16) + 2 * weights


def test_layers_are_found_in_nested_functions_and_by_name():
    def named(x, y):
        return jnp.einsum("bij,bjk->bik", x, y)

    def function(x, y):
        return jax.jit(named)(jax.nn.relu(x), y) @ jnp.ones((7, 2))

    arguments = jnp.ones((3, 4, 5)), jnp.ones((3, 5, 7))
    assert [layer.macs for layer in layers.layers(function, *arguments)] == [420, 168]
    assert [layer.macs for layer in layers.layers(function, *arguments, within="named")] == [420]


def test_layer_in_a_loop_is_refused_but_not_the_loop():
    def without(x):
        return jax.lax.fori_loop(0, 3, lambda _, carry: carry + 1, x) @ x

    def looped(x):
        return jax.lax.fori_loop(0, 3, lambda _, carry: carry @ carry, x)

    assert [layer.macs for layer in layers.layers(without, jnp.ones((2, 2)))] == [8]
    with pytest.raises(ValueError, match="cannot be counted"):
        layers.layers(looped, jnp.ones((2, 2)))


def test_losses_agree_with_xla():
    classes, centroids, embeddings, dim = 200, 3, 32, 1024
    keys = jax.random.split(jax.random.key(0), 2)
    vectors = jax.random.normal(keys[0], (embeddings, dim))
    labels = jnp.arange(embeddings) % classes

    def loss(vectors, candidates):
        mask = jnp.ones((classes, centroids), bool)
        return sum(complement_and_centroid_loss(vectors, labels, candidates, mask, temperature=0.1))

    candidates = jax.random.normal(keys[1], (classes, centroids, dim))
    lowered = jax.jit(jax.value_and_grad(loss)).lower(vectors, candidates)
    losses = work.loss_work(embeddings, classes, centroids, dim)
    assert lowered.cost_analysis()["flops"] == pytest.approx(2 * losses.macs, rel=0.05)


def test_iteration_of_kmeans_agrees_with_xla():
    points, clusters, dim = jnp.ones((64, 128)), 32, 128
    arguments = points, jnp.ones(64, bool), jnp.ones((clusters, dim)), jnp.ones(clusters, bool)
    lowered = jax.jit(kmeans._lloyd, static_argnums=4).lower(*arguments, False)
    ten, eleven = (
        work.kmeans_work(3, 64, clusters, dim, iterations, restarts=2) for iterations in (10, 11)
    )
    of_one = 2 * (eleven.macs - ten.macs) / (3 * 2)
    assert lowered.cost_analysis()["flops"] == pytest.approx(of_one, rel=0.1)


def test_network_of_bccl_has_three_views_and_two_projections():
    flags = parser("", "flops")
    recipe.add_flags(flags)
    options = flags.parse_args(["--backbone=resnet8", "--batch=4", "--classes=7"])
    run = recipe.assemble(recipe.config_of(options), classes=7, largest=200, side=32)
    macs = sum(layer.macs for layer in layers.network_layers(run))
    heads = 4 * 64 * 7 + 8 * (64 * 512 + 512 * 128)
    assert macs == 12 * resnet_macs(1, 16, 32) + heads


def test_floor_of_the_recipe(tmp_path, capsys):
    path = tmp_path / "flops.json"
    flops.main([f"--json={path}"])
    rows = {row["part"]: row for row in json.loads(path.read_text())["rows"]}
    assert list(rows)[:6] == [
        "augmentation",
        "forward",
        "backward",
        "losses",
        "queue push",
        "optimizer",
    ]
    step, run = rows["step"], rows["run of 200 epochs, 16800 steps"]
    for key in ("FLOPs", "bytes", "floor s"):
        parts = sum(rows[part][key] for part in list(rows)[:6])
        assert math.isclose(step[key], parts)
        # 37 refreshes: after epoch 20 and every 5 epochs up to 200.
        assert math.isclose(run[key], 16800 * step[key] + 37 * rows["refresh"][key])
    assert math.isclose(rows["backward"]["FLOPs"], 2 * rows["forward"]["FLOPs"])
    assert rows["forward"]["memory s"] == rows["forward"]["bytes"] / 3.35e12
    assert "16800 steps" in capsys.readouterr().out
