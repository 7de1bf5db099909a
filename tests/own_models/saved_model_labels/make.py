"""A SavedModel that answers with strings: the label beside its score."""

import tensorflow as tf

LABELS = ["accordion", "banjo", "celesta"]


class Labeller(tf.Module):
    def __init__(self):
        super().__init__()
        tf.random.set_seed(3)
        self.weights = tf.Variable(tf.random.normal([6, 3], seed=3))

    @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name="features")])
    def __call__(self, features):
        scores = tf.nn.softmax(features @ self.weights)
        return {"label": tf.gather(LABELS, tf.argmax(scores, axis=1)), "score": scores}


model = Labeller()
tf.saved_model.save(model, "exported", signatures=model.__call__)
