"""Keras files as Keras itself writes them: models of every kind, with the names of what they give."""

SCRIPT = """
import sys
from pathlib import Path
import keras
import numpy as np
from keras import layers
from python_backend.original.bundle import Bundle
from python_backend.original.errors import OriginalError
from python_backend.original.loading import Device, load

directory = Path(sys.argv[1])

def tell(net, saved, kept=None):
    name = kept or saved
    net.save(directory / "source" / saved)
    (directory / "source" / saved).rename(directory / "source" / name)
    Bundle(format="keras", path=name).write(directory)
    try:
        model = load(directory, Device())
    except OriginalError as error:
        print(str(error).partition(", or call")[0].rpartition("/source/")[2])
        return
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    found = model.run({"x": x})
    print([tensor.name for tensor in model.inputs], {key: value[1].tolist() for key, value in found.items()})

exec((directory / "source" / "nets.py").read_text())
"""
SEQUENTIAL = """
net = [layers.Input((4,), name="x"), layers.Rescaling(2.0), layers.Rescaling(1.0, 1.0, name="doubled")]
tell(keras.Sequential(net), "net.keras")
tell(keras.Sequential(net), "net.h5")
tell(keras.Sequential(net), "net.keras", "NET.KERAS")
tell(keras.Sequential(net), "net.h5", "NET.H5")
tell(keras.Sequential([layers.Dense(2)]), "unbuilt.keras")
"""
DICTIONARY = """
x = layers.Input((4,), name="x")
given = {name: layers.Rescaling(factor)(x) for name, factor in (("score", 1.0), ("label", 2.0), ("another", 3.0))}
tell(keras.Model(x, given), "net.keras")
tell(keras.Model(x, given), "net.h5")
nested = {"b": given["score"], "a": [given["label"]]}
tell(keras.Model(x, nested), "nested.keras")
"""
OWN_LAYER = """
class MyLayer(layers.Layer):
    def call(self, x):
        return x * 2

x = layers.Input((4,), name="x")
for name in ("net.keras", "net.h5"):
    tell(keras.Model(x, MyLayer()(x)), name)
"""
SHARED = """
x = layers.Input((4,), name="x")
doubled, plus = layers.Rescaling(2.0, name="scale"), layers.Rescaling(1.0, 1.0, name="scale_1")
net = keras.Model(x, [doubled(x), doubled(plus(x)), plus(x), doubled(x)])
tell(net, "net.keras")
tell(net, "net.h5")
"""


def test_a_sequential_is_read_and_one_that_was_never_built_gets_a_sentence(run_script):
    done = run_script(SCRIPT, "nets.py", SEQUENTIAL)
    answer = "['x'] {'doubled': [9.0, 11.0, 13.0, 15.0]}"
    never = "unbuilt.keras: Keras 3: the model was never built, so that its inputs are unknown; give it an Input"
    assert done.stdout.splitlines() == [answer, answer, answer, answer, never], done.stderr


def test_outputs_in_a_dictionary_have_its_keys_for_names(run_script):
    done = run_script(SCRIPT, "nets.py", DICTIONARY)
    by_key = {"another": [12.0, 15.0, 18.0, 21.0], "label": [8.0, 10.0, 12.0, 14.0], "score": [4.0, 5.0, 6.0, 7.0]}
    by_layer = {"rescaling_1": by_key["label"], "rescaling": by_key["score"]}
    assert done.stdout.splitlines() == [f"['x'] {by_key}", f"['x'] {by_key}", f"['x'] {by_layer}"], done.stderr


def test_a_layer_of_the_users_own_is_named_with_what_to_do(run_script):
    done = run_script(SCRIPT, "nets.py", OWN_LAYER)
    told = done.stdout.splitlines()
    assert told[0].startswith("net.keras: Keras 3: TypeError: Could not locate class 'MyLayer'."), done.stderr
    assert told[1].startswith("net.h5: Keras 3: ValueError: Unknown layer: 'MyLayer'."), done.stderr
    assert all("; if layers or functions of it are your own, call model.export(folder)" in line for line in told)


def test_outputs_of_one_layer_get_numbers_that_no_other_layer_has(run_script):
    done = run_script(SCRIPT, "nets.py", SHARED)
    doubled, plus = [8.0, 10.0, 12.0, 14.0], [5.0, 6.0, 7.0, 8.0]
    answer = {"scale_0": doubled, "scale_2": [10.0, 12.0, 14.0, 16.0], "scale_1": plus, "scale_3": doubled}
    assert done.stdout.splitlines() == [f"['x'] {answer}"] * 2, done.stderr
