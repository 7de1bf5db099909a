"""A Sequential of Keras 3, which is a class of its own there: it lacks what other models tell of their outputs."""

import keras
from keras import layers

keras.utils.set_random_seed(4)
keras.Sequential(
    [
        layers.Input((16, 3), name="steps"),
        layers.Conv1D(8, 3, activation="relu"),
        layers.GlobalMaxPooling1D(),
        layers.Dense(4, activation="softmax", name="verdict"),
    ]
).save("net.keras")
