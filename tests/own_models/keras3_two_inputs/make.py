"""A Keras 3 model with two inputs of different dtypes and two outputs by name, one of them with a dynamic dimension."""

import keras
from keras import layers

keras.utils.set_random_seed(1)
picture = keras.Input((16, 16, 3), name="picture")
words = keras.Input((None,), dtype="int32", name="words")
seen = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(picture))
embedded = layers.Embedding(50, 8)(words)
read = layers.GlobalAveragePooling1D()(embedded)
joined = layers.Concatenate()([seen, read])
verdict = layers.Dense(4, activation="softmax")(joined)
per_word = layers.Dense(2)(embedded)
keras.Model([picture, words], {"verdict": verdict, "per_word": per_word}).save("net.keras")
