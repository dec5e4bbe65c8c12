import pytest

from bccl_jax.errors import ConfigError
from experiments.designing.comparison import compared, name_of
from experiments.designing.design import Scale, cells


def test_each_method_is_a_row_and_the_first_one_is_compared_with():
    experiment = compared("cross_entropy, bccl:released,bccl,cross_entropy")
    rows = [(row.name, row.method) for row in experiment.rows]
    assert rows == [
        ("cross_entropy", "cross_entropy"),
        ("bccl:released", "bccl,released"),
        ("bccl", "bccl"),
    ]
    assert experiment.reference == "cross_entropy"
    assert name_of(experiment) == "methods-cross_entropy-bccl_released-bccl"
    found = cells(experiment, Scale(seeds=2, datasets=("digits",)))
    assert [(cell.row, cell.seed) for cell in found] == [
        (name, seed) for seed in (0, 1) for name, _ in rows
    ]
    assert {cell.imbalance for cell in found} == {20.0}
    assert not any(cell.config.data.validation_fraction for cell in found)
    assert [cell.config.method.get("preset") for cell in found[:3]] == [None, "released", "sec43"]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("bccl,cross_entrpy", "no method is called 'cross_entrpy'; .*mean --methods=cross_entropy"),
        ("bccl,released", "released is a preset, written bccl:released"),
        ("bccl:relased", "bccl has no preset 'relased'; .*did you mean bccl:released"),
        ("bccl:", "bccl has no preset ''; there are sec43"),
        ("cross_entropy:eq9", "cross_entropy has no presets; write --methods=cross_entropy$"),
        ("bccl;cross_entropy", "commas separate methods, as in --methods=bccl,cross_entropy"),
        (" , ", "--methods names no method; write --methods=bccl"),
        ("bccl,bccl:sec43", "bccl and bccl:sec43 are the same method"),
    ],
)
def test_what_names_no_methods_is_one_sentence_with_the_mend(named, message):
    with pytest.raises(ConfigError, match=message) as error:
        compared(named)
    assert str(error.value).startswith("--methods")
