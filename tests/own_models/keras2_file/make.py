"""A file of Keras 2 that Keras 3 refuses: its DepthwiseConv2D was saved with an argument that is gone."""

import tf_keras
from tf_keras import layers

tf_keras.utils.set_random_seed(2)
net = tf_keras.Sequential(
    [
        layers.Input((12, 12, 3), name="pixels"),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(5, name="scores"),
    ]
)
net.save("old.h5")
