import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from bccl_jax.devices import selftest
from bccl_jax.errors import DeviceError
from tests.tiny import ROOT

NAMES = sorted(selftest._examples()[1])


@pytest.fixture(scope="module")
def computed():
    """Every device's results, as they are on this machine."""
    given, wanted = selftest._examples()
    return selftest._compiled((jax.local_devices()[0],), given)[0], wanted


def test_this_machine_computes_right():
    selftest.check_devices()


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_result_is_one_sentence(computed, name):
    found, want = computed[0][name], computed[1][name]
    selftest._compare(jax.devices()[0], name, found, want)
    one = found.copy()
    one.flat[3] += 1 + 0.02 * abs(found).max().astype(found.dtype)
    faults = [one, np.roll(found, 1)]
    if found.dtype.kind == "f":
        faults.append(np.where(np.arange(found.size).reshape(found.shape) == 0, np.nan, found))
    for wrong in faults:
        with pytest.raises(DeviceError, match=f"computes wrong under jax .*{name}.* differ"):
            selftest._compare(jax.devices()[0], name, wrong, want)


def test_precision_of_fast_kernels_passes(computed):
    # bfloat16's and TF32's products of the arguments are exact; this is what is left of them.
    name = "a convolution"
    want = computed[1][name]
    selftest._compare(jax.devices()[0], name, (want * (1 + 2**-11)).astype(np.float32), want)


def test_a_wrong_single_operation_is_found(monkeypatch):
    # As reported of some GPUs: ones + 1 gives what an earlier program left behind.
    wrong = [("an addition", np.full(4, 513.0), np.full(4, 2.0))]
    monkeypatch.setattr(selftest, "_single_operations", lambda device: iter(wrong))
    selftest._check_once.cache_clear()
    with pytest.raises(DeviceError, match="an addition gives 513.0 in place of 2.0"):
        selftest.check_devices()
    selftest._check_once.cache_clear()


def test_a_device_that_cannot_run_a_program_is_one_sentence(monkeypatch):
    def fail(devices, given):
        raise jax.errors.JaxRuntimeError("INTERNAL: no kernel image\nand more")

    monkeypatch.setattr(selftest, "_compiled", fail)
    selftest._check_once.cache_clear()
    with pytest.raises(DeviceError, match=r"cannot run a small program .*no kernel image\)"):
        selftest.check_devices()


def test_a_precision_of_the_users_has_no_part_in_it():
    selftest._check_once.cache_clear()
    with jax.default_matmul_precision("BF16_BF16_BF16"):
        selftest.check_devices()


def test_threefry_gives_the_published_vectors():
    # Random123's known answers: key, counter and result of 20 rounds.
    ones = 0xFFFFFFFF
    for key, counter, want in [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((ones, ones), (ones, ones), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]:
        np.testing.assert_array_equal(selftest.threefry(*key, np.uint32(counter)), np.uint32(want))


def test_every_device_of_several_is_checked():
    script = (
        "import jax, numpy as np\n"
        "from bccl_jax.devices import selftest\n"
        "selftest.check_devices()\n"
        "given, wanted = selftest._examples()\n"
        "sound = selftest._compiled\n"
        "def broken(devices, given):\n"
        "    found = sound(devices, given)\n"
        "    found[2]['a sum'] = found[2]['a sum'] + 1\n"
        "    return found\n"
        "selftest._compiled = broken\n"
        "selftest._check_once.cache_clear()\n"
        "try:\n"
        "    selftest.check_devices()\n"
        "except selftest.DeviceError as error:\n"
        "    assert str(error).startswith(str(jax.devices()[2])), error\n"
        "    print('found')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=3",
        },
        timeout=120,
    )
    assert done.stdout == "found\n", done.stderr
