#!/usr/bin/env python3
"""The networks of bench/train_peer.cpp in Keras on TensorFlow, trained at a driver's word (see protocol.py).

With what makes TensorFlow fast on a processor: oneDNN, a step compiled as one tf.function, threads as many as are
given. --xla compiles it by XLA too.
"""

import glob
import os
import sys

sys.dont_write_bytecode = True
import protocol  # noqa: E402 (beside this file)

flags = protocol.arguments(__doc__.splitlines()[0])
flags.add_argument("--xla", action="store_true", help="compile the step by XLA")
flags.add_argument("--inter-op", type=int, default=0, help="operations at once (0: as many as threads)")
flags.add_argument("--train", type=int, default=0, help="on the first of the records; the others are for validate")
flags.add_argument("--seed", type=int, default=1, help="of shuffles and dropout")
flags.add_argument("--shuffle", type=int, default=1000, help="pictures in tf.data's shuffle buffer")
flags = flags.parse_args()

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras  # noqa: E402 (reads the environment)
import tensorflow as tf  # noqa: E402
from keras import layers  # noqa: E402

tf.config.threading.set_intra_op_parallelism_threads(flags.threads)
tf.config.threading.set_inter_op_parallelism_threads(flags.inter_op or flags.threads)
if flags.precision == "bfloat16":
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
compute = tf.bfloat16 if flags.precision == "bfloat16" else tf.float32


class Network:
    """A model under construction, which remembers the names that PyTorch gives to its layers."""

    def __init__(self, shape):
        self.input = keras.Input(shape)
        self.named = []

    def add(self, name, layer, x):
        self.named.append((name, layer))
        return layer(x)

    def finish(self, x):
        self.model = keras.Model(self.input, x)
        return self

    def load(self, tensors):
        """Weights of PyTorch's layouts."""
        left = set(tensors)
        for name, layer in self.named:
            parts = [part for part in ("weight", "bias", "running_mean", "running_var") if f"{name}.{part}" in tensors]
            values = [tensors[f"{name}.{part}"] for part in parts]
            left -= {f"{name}.{part}" for part in parts}
            if values[0].ndim == 4:
                values[0] = values[0].transpose(2, 3, 1, 0)  # (filters, C, H, W) to (H, W, C, filters)
            elif values[0].ndim == 2:
                values[0] = values[0].T  # (out, in) to (in, out)
                before = layer.before_flattening
                if before is not None:  # (C, H, W) to (H, W, C) in the rows
                    height, width, channels = before
                    values[0] = values[0].reshape(channels, height, width, -1).transpose(1, 2, 0, 3)
                    values[0] = values[0].reshape(height * width * channels, -1)
            layer.set_weights(values)
        if left:
            sys.exit(f"{flags.weights} has tensors that the model has not: {sorted(left)}")


def dense(features, before=None, **more):
    layer = layers.Dense(features, **more)
    layer.before_flattening = before
    return layer


def guide(dropout):
    """workload::Guide: (N, 150, 150, 3) to (N, 1)."""
    net = Network((150, 150, 3))
    x = net.input
    for name, filters in (("0", 32), ("3", 64), ("6", 128), ("9", 128)):
        x = net.add(name, layers.Conv2D(filters, 3, activation="relu"), x)
        x = layers.MaxPooling2D(2)(x)
    before = x.shape[1:]
    x = layers.Flatten()(x)
    if dropout:
        x = layers.Dropout(0.5)(x)
    x = net.add("14", dense(512, before, activation="relu"), x)
    return net.finish(net.add("16", dense(1, dtype="float32"), x))


def resnet18(_dropout):
    """workload::ResNet18: (N, 32, 32, 3) to (N, 10)."""
    net = Network((32, 32, 3))

    def convolution(name, number, filters, size, stride, x):
        if stride > 1 and size > 1:  # PyTorch pads on both sides where Keras' "same" pads on one
            x = layers.ZeroPadding2D(size // 2)(x)
        padding = "same" if stride == 1 else "valid"
        x = net.add(f"{name}{number}", layers.Conv2D(filters, size, stride, padding, use_bias=False), x)
        return net.add(f"{name}{number + 1}", layers.BatchNormalization(momentum=0.9, epsilon=1e-5), x)

    def block(name, filters, stride, x):
        body = layers.ReLU()(convolution(name + ".body.", 0, filters, 3, stride, x))
        body = convolution(name + ".body.", 3, filters, 3, 1, body)
        skip = x if stride == 1 else convolution(name + ".skip.", 0, filters, 1, stride, x)
        return layers.ReLU()(layers.Add()([body, skip]))

    x = layers.ReLU()(convolution("", 0, 64, 3, 1, net.input))
    number = 3
    for filters in (64, 128, 256, 512):
        for stride in (1 if filters == 64 else 2, 1):
            x = block(str(number), filters, stride, x)
            number += 2
    x = layers.GlobalAveragePooling2D()(x)
    return net.finish(net.add("20", dense(10, dtype="float32"), x))


class Training:
    def __init__(self, dropout, rate=1e-3):
        self.net = {"guide": guide, "resnet18": resnet18}[flags.network](dropout)
        if flags.weights:
            self.net.load(protocol.read_safetensors(flags.weights))
        self.model = self.net.model
        self.optimizer = keras.optimizers.Adam(rate, epsilon=1e-8)
        self.optimizer.build(self.model.trainable_variables)
        self.step = tf.function(self.plain_step, jit_compile=flags.xla)
        self.judge = tf.function(self.plain_judge, jit_compile=flags.xla)

    def logits_and_loss(self, images, labels, training):
        pixels = tf.cast(images, compute) * tf.constant(1 / 255, compute)
        logits = self.model(pixels, training=training)
        if flags.network == "guide":
            wanted = tf.cast(labels[:, None], tf.float32)
            return logits, tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits))
        return logits, tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))

    def plain_step(self, images, labels):
        with tf.GradientTape() as tape:
            _, loss = self.logits_and_loss(images, labels, True)
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    def plain_judge(self, images, labels):
        logits, loss = self.logits_and_loss(images, labels, False)
        if flags.network == "guide":
            right = tf.equal(logits[:, 0] > 0, labels > 0)
        else:
            right = tf.equal(tf.argmax(logits, 1, tf.int32), labels)
        return loss, tf.reduce_sum(tf.cast(right, tf.int32))


def parse(record):
    """A serialised Example to (150, 150, 3) of float32, 0 to 255, and its label."""
    example = tf.io.parse_single_example(
        record,
        {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)},
    )
    # The accurate DCT, as all have it here.
    image = tf.io.decode_jpeg(example["image"], channels=3, dct_method="INTEGER_ACCURATE")
    return tf.image.resize(image, [150, 150]), tf.cast(example["label"], tf.int32)


def records():
    files = sorted(name for name in glob.glob(flags.records) if not name.endswith(".plimsoll-index"))
    return tf.data.TFRecordDataset(files)


def pipeline(stored, training=True):
    options = tf.data.Options()
    options.threading.private_threadpool_size = flags.threads
    options.threading.max_intra_op_parallelism = 1  # as the guide to tf.data's performance advises
    options.deterministic = False  # faster; the order is random anyway
    if training:
        stored = stored.shuffle(flags.shuffle)  # of the stored bytes, which take less room
    return (
        stored.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(flags.batch, drop_remainder=training)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )


def main():
    keras.utils.set_random_seed(flags.seed)
    training = Training(flags.dropout)
    ready = {"program": f"Keras {keras.__version__}, TensorFlow {tf.__version__}", "threads": flags.threads}
    if flags.records:
        dataset = pipeline(records().take(flags.train) if flags.train else records())
        held_out = pipeline(records().skip(flags.train), training=False) if flags.train else None

        def run_pass():
            pictures, total = 0, tf.zeros([])
            for images, labels in dataset:
                total += training.step(images, labels)
                pictures += flags.batch
            return pictures, float(total) / (pictures // flags.batch)

        def validate():
            right = pictures = 0
            for images, labels in held_out:
                right += int(training.judge(images, labels)[1])
                pictures += len(labels)
            if not pictures:
                sys.exit(f"--train {flags.train}: no record is left")
            return pictures, right / pictures

        protocol.speak(ready, run_pass=run_pass, validate=validate if flags.train else None)
        return
    arrays = protocol.Arrays(flags.data, flags.batch)

    def train(steps):
        for step in range(steps):
            loss = training.step(*arrays.at(step))
        return float(loss)

    def losses(steps, rate):
        plain = Training(False, rate)
        return [float(plain.step(*arrays.at(step))) for step in range(steps)]

    def evaluate():
        total, right = 0.0, 0
        for step in range(arrays.batches):
            loss, found = training.judge(*arrays.at(step))
            total, right = total + loss, right + found
        float(total), int(right)  # wait for them
        return len(arrays)

    protocol.speak(ready | {"pictures": len(arrays)}, train, evaluate, losses)


main()
