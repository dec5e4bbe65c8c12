import pytest

from bccl_jax.errors import ConfigError
from experiments.designing.catalogue import EXPERIMENTS
from experiments.designing.design import Scale, cells
from experiments.running import planning, provenance


def test_rows_are_run_alone_in_the_order_of_the_experiment():
    planned = cells(EXPERIMENTS["full_size"], Scale(seeds=2, imbalances=(100.0,)))
    found = planning.only(planned, ["L_SCL + L_LC", "BCCL, released code"])
    names = ["BCCL, released code", "L_SCL + L_LC"]
    assert [(cell.row, cell.seed) for cell in found] == [(n, s) for s in (0, 1) for n in names]
    with pytest.raises(ConfigError, match=r"'BCCL, relased code'; there are BCCL; .*did you mean"):
        planning.only(planned, ["BCCL, relased code"])


def test_a_plan_runs_what_experiments_share_once_and_what_has_a_record_never():
    scale = Scale(seeds=2, datasets=("digits",))
    planned = planning.plan([EXPERIMENTS[name] for name in ("table4", "figure5", "figure3")], scale)
    assert len(planned) == 2 * (5 + 3 + 4)
    first = planned[0]
    done = {
        "config_hash": first.config_hash,
        "seed": first.seed,
        "code_hash": provenance.code_hash(),
    }
    assert planning.outstanding(planned, [done]) == planned[1:]
    assert planning.outstanding(planned, [done | {"code_hash": "of old"}]) == planned
    assert planning.outstanding(planned, [done | {"seed": 5}]) == planned


def test_a_plan_of_nothing_is_refused():
    """Each row has a backbone of its own, in the place of a ResNet-32."""
    for scale in (Scale(seeds=1, datasets=("digits",)), Scale(seeds=1, backbone="resnet8")):
        with pytest.raises(ConfigError, match="nothing can be run: every row"):
            planning.plan([EXPERIMENTS["all_methods_wide"]], scale)
