"""Copies to a device: that every byte arrives, straight or by threads, and that a driver's error is told.

No GPU is here: the driver's functions are written for memory of the host. With the real driver the same code runs in
`make bench PROFILE=gpu`, where parity and accuracy are measured through it.
"""

import ctypes

import numpy as np
import pytest

from python_backend.onnxruntime import device_copy
from python_backend.onnxruntime.device_copy import DeviceCopy


class OnTheHost:
    """The driver's functions; `copies` are the sizes that were copied, and the calls named in `failing` fail."""

    def __init__(self, failing=()):
        self.copies, self._failing = [], failing
        self._functions = {
            "cuMemHostRegister_v2": self._register,
            "cuMemcpyHtoD_v2": self._copy,
            "cuMemcpyHtoDAsync_v2": self._copy,
            "cuStreamSynchronize": self._synchronize,
        }

    def __getattr__(self, name):
        return self._functions[name]

    def _register(self, _pointer, size, flags):
        assert (size.value, flags.value) == (device_copy._STAGE, 1)
        return self._done("register")

    def _copy(self, target, source, size, stream=None):
        assert stream is None
        ctypes.memmove(target.value, source, size.value)
        self.copies.append(size.value)
        return self._done("copy")

    def _synchronize(self, stream):
        assert stream is None
        return self._done("synchronize")

    def _done(self, call):
        return 700 if call in self._failing else 0


@pytest.fixture
def cores(monkeypatch):
    """Sets the number of processors that this process may use."""
    return lambda count: monkeypatch.setattr(device_copy, "available_cores", lambda: count)


def copied(driver, array):
    target = np.zeros(array.nbytes + 16, np.uint8)
    DeviceCopy(driver).copy(array, target.ctypes.data)
    np.testing.assert_array_equal(target[: array.nbytes], np.frombuffer(array.tobytes(), np.uint8))
    assert not target[array.nbytes :].any(), "nothing behind it"


@pytest.mark.parametrize("array", [np.arange(7.0), np.arange(24).reshape(4, 6)[:, ::2], np.array([[True], [False]])])
def test_small_arrays_go_straight_whatever_their_layout(cores, array):
    cores(16)
    driver = OnTheHost()
    copied(driver, array)
    assert driver.copies == [array.nbytes]


@pytest.mark.parametrize("size", [16 << 20, (32 << 20) - 1, 32 << 20, (32 << 20) + 1, (70 << 20) + 5])
def test_large_arrays_go_in_parts_through_pinned_memory(cores, size):
    cores(4)
    driver = OnTheHost()
    copied(driver, np.random.default_rng(0).integers(1, 255, size, np.uint8))
    assert sum(driver.copies) == size
    assert max(driver.copies) == 4 << 20


def test_with_few_processors_large_arrays_go_straight_as_well(cores):
    cores(3)
    driver = OnTheHost()
    copied(driver, np.ones(20 << 20, np.uint8))
    assert driver.copies == [20 << 20]


@pytest.mark.parametrize(
    ("call", "function"),
    [("copy", "cuMemcpyHtoD"), ("register", "cuMemHostRegister_v2"), ("synchronize", "cuStreamSynchronize")],
)
def test_an_error_of_the_driver_is_told_with_its_number(cores, call, function):
    cores(4)
    array = np.ones(17 << 20, np.uint8)
    target = np.zeros_like(array)
    with pytest.raises(OSError, match=rf"{function}\w* of the CUDA driver gave error 700"):
        DeviceCopy(OnTheHost([call])).copy(array, target.ctypes.data)
