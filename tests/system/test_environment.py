"""What the environment says is made usable, left alone, or told in one sentence."""

import os
import pathlib
import pwd
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from bccl_jax.classifier import starting
from bccl_jax.devices import jax_settings
from bccl_jax.devices import mesh as devices
from bccl_jax.errors import ConfigError
from bccl_jax.system.environment import cache_folder, check_xla_flags, expanded
from bccl_jax.training import loop
from bccl_jax.training.assemble import assemble
from tests.tiny import ROOT, tiny_config

FLAG = "--xla_gpu_exclude_nondeterministic_ops=true"


@pytest.fixture
def nobody(monkeypatch):
    """A user without a home, as of `docker run --user 12345`."""

    def unknown(*_):
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.fixture
def fresh(monkeypatch):
    """JAX as if it had not started, its cache as if it was set nowhere."""
    monkeypatch.setattr(devices, "_has_started", lambda: False)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    kept = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", kept)


def test_without_a_home_nothing_is_kept_and_tilde_is_one_sentence(nobody):
    assert cache_folder("jax") is None
    assert expanded("runs/a") == pathlib.Path("runs/a")
    for path in ("~/runs", "~someone/runs"):
        with pytest.raises(ConfigError, match=r"no home folder is known for ~\w* \(HOME is None"):
            expanded(path)


def test_a_folder_for_what_can_be_made_anew(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for given in ("", "relative", "./here"):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert cache_folder("jax") == tmp_path / ".cache" / "bccl_jax" / "jax"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder("jax").is_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder("jax") is None
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "not/absolute")
    assert cache_folder("jax") is None
    assert {path.name for path in tmp_path.iterdir()} == {"file", ".cache", "cache"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--xla_foo=1", "Unknown flag in XLA_FLAGS: --xla_foo=1"),
        ("--xla_cpu_multi_thread_eigen=junk", "interpret value junk"),
        ("no_such_file", "Could not open file"),
    ],
)
def test_flags_that_would_end_the_process_are_one_sentence(flags, message):
    with pytest.raises(ConfigError, match=message) as error:
        check_xla_flags(flags)
    assert "\n" not in str(error.value)


def test_a_deterministic_run_adds_one_flag_once_and_keeps_the_users(fresh, monkeypatch, capsys):
    monkeypatch.setattr(devices, "check_xla_flags", lambda flags: None)
    for given, wanted in [
        ("", FLAG),
        ("--xla_dump_to=here", f"--xla_dump_to=here {FLAG}"),
        ("--xla_gpu_exclude_nondeterministic_ops=false",) * 2,
        ("--xla_gpu_deterministic_ops=true",) * 2,
    ]:
        monkeypatch.setenv("XLA_FLAGS", given)
        for _ in range(2):
            devices.configure(deterministic=True)
            assert os.environ["XLA_FLAGS"] == wanted
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("XLA_FLAGS", "a_file_of_flags")
    devices.configure(deterministic=True)
    assert os.environ["XLA_FLAGS"] == "a_file_of_flags"
    assert capsys.readouterr().err.count("XLA_FLAGS names a file") == 1
    monkeypatch.setenv("XLA_FLAGS", "")
    devices.configure(deterministic=False)
    assert os.environ["XLA_FLAGS"] == ""


def test_flags_that_come_too_late_for_a_gpu_are_told(monkeypatch, capsys):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    jax.devices()
    devices.configure(deterministic=True)  # of a CPU nothing is asked
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    devices.configure(deterministic=True)
    told = capsys.readouterr().err
    assert "JAX has started already" in told
    assert told.count("\n") == 1
    assert "XLA_FLAGS" not in os.environ


def test_the_compilation_cache_has_a_place_and_one_that_fails_is_told(
    fresh, monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    devices.configure(deterministic=False)
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "bccl_jax" / "jax")
    for own in (str(tmp_path / "own"), "gs://bucket/cache"):
        jax.config.update("jax_compilation_cache_dir", own)
        devices.configure(deterministic=False)
        assert jax.config.jax_compilation_cache_dir == own
    assert capsys.readouterr().err == ""
    (tmp_path / "file").touch()
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "file" / "x"))
    devices.configure(deterministic=False)
    assert jax.config.jax_compilation_cache_dir is None
    assert "file/x cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("begin", [loop.train_and_evaluate, loop.evaluate_checkpoints])
def test_a_run_is_configured_wherever_it_is_started(begin, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(starting, "configure", asked.append)
    monkeypatch.setattr(loop, "assemble", lambda config: 1 / 0)
    config = tiny_config()
    with pytest.raises((ZeroDivisionError, ValueError)):
        begin(config, tmp_path / "run")
    assert asked == [config.deterministic] == [True]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AssertionError(), "it is not installed"),
        (AttributeError("'NoneType' object has no attribute 'devices'"), "it is not installed"),
        (RuntimeError("Unable to initialize backend 'x'. (set JAX_PLATFORMS='')"), "backend 'x'"),
    ],
)
@pytest.mark.parametrize("platforms", ["cuda", None])
def test_a_platform_that_is_not_there_is_one_sentence(error, told, platforms, monkeypatch):
    def raise_it():
        raise error

    class Config:
        jax_platforms = platforms

    monkeypatch.setattr(devices.jax, "devices", raise_it)
    monkeypatch.setattr(devices.jax, "config", Config)
    with pytest.raises(ConfigError, match=told) as found:
        devices.devices()
    assert "JAX cannot start" in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("platforms", "told"),
    [
        ("gpu", r"JAX_PLATFORMS=gpu \(there is no GPU, or no JAX for it is installed\)"),
        ("cpu,foo", "names 'foo', which is no kind of device; unset it, or write cpu, cuda or tpu"),
    ],
)
def test_what_jax_platforms_may_be_is_said(platforms, told, monkeypatch):
    def raise_it():
        raise RuntimeError("Unable to initialize backend 'rocm': it is not in the list")

    monkeypatch.setattr(devices.jax, "devices", raise_it)
    monkeypatch.setattr(devices.jax, "config", type("Config", (), {"jax_platforms": platforms}))
    with pytest.raises(ConfigError, match=told) as found:
        devices.devices()
    assert "rocm" not in str(found.value)


def test_a_precision_that_the_device_has_not_is_one_sentence():
    jax_settings.check_precision()
    with (
        jax.default_matmul_precision("BF16_BF16_BF16"),
        pytest.raises(ConfigError, match="JAX_DEFAULT_MATMUL_PRECISION is BF16_BF16_BF16") as found,
    ):
        jax_settings.check_precision()
    assert "\n" not in str(found.value)


def test_a_variable_that_jax_cannot_read_is_told_by_its_name():
    code = "from bccl_jax.system import environment; environment.check_jax_variables()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"JAX_ENABLE_X64": "perhaps"},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    told = done.stderr.splitlines()[-1]
    assert "JAX does not start with what the environment sets" in told
    assert "'perhaps' for environment 'JAX_ENABLE_X64'" in told
    assert "JAX_ENABLE_X64" in told.partition("(set are ")[2]


def test_what_shapes_the_numbers_is_the_same_whatever_the_environment_says():
    def drawn():
        key = jax.random.key(3)
        return jax.random.uniform(key, (7,)), jax.random.split(key, 3), jnp.arange(3) * 1.5

    expected = drawn()
    config = tiny_config()
    shapes = assemble(config).abstract_state
    with (
        jax.enable_x64(True),
        jax.default_prng_impl("rbg"),
        jax.threefry_partitionable(False),
        jax.enable_custom_prng(True),
        jax.numpy_dtype_promotion("strict"),
        jax.transfer_guard("disallow"),
        jax_settings.usual(),
    ):
        for found, right in zip(drawn(), expected, strict=True):
            assert found.dtype == right.dtype
            assert (found == right).all()
        assert assemble(config).abstract_state == shapes


def test_what_stays_and_changes_the_numbers_is_told():
    assert jax_settings.unusual() == ""
    with jax.default_matmul_precision("highest"):
        assert "JAX_DEFAULT_MATMUL_PRECISION=highest" in jax_settings.unusual()
    with jax.disable_jit():
        assert "JAX_DISABLE_JIT=True" in jax_settings.unusual()
