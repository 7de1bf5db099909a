import threading

import numpy as np
import pytest
from understudy_client import Infer, TensorSpec
from understudy_client.calls import ReadIndex, Tensor
from understudy_client.dtypes import MANY
from understudy_client.threads import beside_the_loop


def _call(spec: TensorSpec, values: int) -> Infer:
    dtype = np.object_ if spec.datatype == "BYTES" else np.float32
    return Infer("m", inputs=(Tensor(spec.name, spec.datatype, np.full(values, 0, dtype)),))


STRINGS, NUMBERS = TensorSpec("x", "BYTES", (-1,)), TensorSpec("x", "FP32", (-1,))


@pytest.mark.parametrize(
    ("call", "aside"),
    [(_call(STRINGS, MANY + 1), True), (_call(STRINGS, MANY), False), (_call(NUMBERS, MANY + 1), False)],
    ids=["many strings", "few strings", "numbers"],
)
async def test_many_strings_are_packed_in_a_thread(call: Infer, *, aside: bool) -> None:
    thread, named = await beside_the_loop(call, lambda name: (threading.current_thread(), name), name="a")
    assert (thread is not threading.main_thread(), named) == (aside, "a")


async def test_what_is_no_inference_is_packed_at_once() -> None:
    assert await beside_the_loop(ReadIndex(), threading.current_thread) is threading.main_thread()
