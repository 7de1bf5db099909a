"""The classifier: a small MobileNetV2 (inverted residuals, depthwise-separable, batch norm) after Sandler et al., 2018.

One change from the paper: the last pooling averages over time alone and keeps four frequency zones, because where the
energy lies tells a kick from a tom and a bass from a lead. https://arxiv.org/abs/1801.04381
"""

from typing import TYPE_CHECKING, Any

from families import FAMILIES

if TYPE_CHECKING:
    import keras

__all__ = ["INPUT_NAME", "OUTPUT_NAME", "build"]

INPUT_NAME = "spectrogram"
OUTPUT_NAME = "family"
STEM = 24
# Expansion, output channels, blocks and first stride of each stage; the picture shrinks 128, 64, 32, 16, 8, 4.
STAGES = ((1, 24, 1, 2), (4, 40, 2, 2), (4, 80, 3, 2), (4, 128, 2, 2))
HEAD = 320


def _normalised(layer: Any, x: Any, *, activate: bool = True) -> Any:
    from keras import layers

    x = layers.BatchNormalization(momentum=0.97)(layer(x))
    return layers.ReLU(max_value=6.0)(x) if activate else x


def _inverted_residual(x: Any, expansion: int, channels: int, stride: int) -> Any:
    from keras import layers

    inner = x.shape[-1] * expansion
    y = _normalised(layers.Conv2D(inner, 1, use_bias=False), x)
    y = _normalised(layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False), y)
    y = _normalised(layers.Conv2D(channels, 1, use_bias=False), y, activate=False)
    return layers.Add()([x, y]) if stride == 1 and x.shape[-1] == channels else y


def build() -> "keras.Model":
    """Make the untrained network: float32 [batch, 128, 128, 3] -> probabilities, float32 [batch, 12]."""
    import keras
    from keras import layers

    inputs = keras.Input((128, 128, 3), name=INPUT_NAME)
    x = _normalised(layers.Conv2D(STEM, 3, strides=2, padding="same", use_bias=False), inputs)
    for expansion, channels, blocks, stride in STAGES:
        for block in range(blocks):
            x = _inverted_residual(x, expansion, channels, stride if block == 0 else 1)
    x = _normalised(layers.Conv2D(HEAD, 1, use_bias=False), x)
    x = layers.AveragePooling2D((1, 4))(x)
    x = layers.Dropout(0.4)(layers.Flatten()(x))
    outputs = layers.Dense(len(FAMILIES), activation="softmax", name=OUTPUT_NAME)(x)
    return keras.Model(inputs, outputs, name="sample_classifier")
