"""SavedModels as TensorFlow itself writes them."""

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import tensorflow as tf
from python_backend.original.bundle import Bundle
from python_backend.original.errors import OriginalError
from python_backend.original.loading import Device, load

directory = Path(sys.argv[1])

def tell(function, shape):
    module = tf.Module()
    module.serve = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32, "x")])
    tf.saved_model.save(module, str(directory / "source" / "net"), signatures=module.serve)
    Bundle(format="saved_model", path="net").write(directory)
    try:
        model = load(directory, Device())
    except OriginalError as error:
        print(error)
        return
    print(model.outputs[0].shape, model.run({"x": np.ones((1, 2), np.float32)})["y"].tolist())

exec((directory / "source" / "nets.py").read_text())
"""
RANKS = """
tell(lambda x: {"y": tf.reshape(x, tf.concat([tf.shape(x), tf.ones([tf.size(x)], tf.int32)], 0))}, [None, 2])
tell(lambda x: {"y": x * 2}, None)
"""


def test_an_output_may_have_any_number_of_dimensions_and_an_input_may_not(run_script):
    done = run_script(SCRIPT, "nets.py", RANKS)
    served, refused = done.stdout.splitlines()
    assert served == "() [[[[1.0]], [[1.0]]]]", done.stderr
    assert refused.startswith("input 'x' may have any number of dimensions"), done.stderr
