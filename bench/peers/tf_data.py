#!/usr/bin/env python3
"""The reading pipeline of bench/streaming.cpp as tf.data has it; prints one line of JSON.

Pictures decoded a second, without training: JPEG out of TFRecord files, shuffled through a buffer, resized to
150x150, in batches of 32 bytes-a-channel pictures. After a first pass, which is not timed.
"""

import argparse
import glob
import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tensorflow as tf  # noqa: E402 (reads the environment)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pattern", help="TFRecord files of tf.train.Examples with `image` and `label`")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--calls", type=int, help="parallel calls of map; left out: AUTOTUNE")
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--shuffle", type=int, default=1000, help="pictures in the shuffle buffer")
    return parser.parse_args()


def parse(record):
    """A serialised Example to (150, 150, 3) of uint8 and its label, with the bits of our decoder."""
    example = tf.io.parse_single_example(
        record,
        {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)},
    )
    # TensorFlow's own default is the faster, less accurate DCT; ours is the accurate one.
    image = tf.io.decode_jpeg(example["image"], channels=3, dct_method="INTEGER_ACCURATE", fancy_upscaling=True)
    image = tf.image.resize(image, [150, 150], method="bilinear")  # (150, 150, 3) float32
    return tf.cast(image + 0.5, tf.uint8), example["label"]  # rounded, halves up; a cast alone cuts off


def pipeline(files, threads, calls, shuffle):
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1  # as the guide to tf.data's performance advises
    options.deterministic = False  # faster; the order is random anyway
    return (
        tf.data.TFRecordDataset(files)
        .shuffle(shuffle)  # of the stored bytes, before decoding, where the buffer is small
        .map(parse, num_parallel_calls=calls or tf.data.AUTOTUNE)
        .batch(32)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )


def peak_resident_bytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def main():
    flags = arguments()
    files = sorted(name for name in glob.glob(flags.pattern) if not name.endswith(".plimsoll-index"))
    if not files:
        sys.exit(f"tf_data.py: no file is named {flags.pattern}")
    tf.config.threading.set_intra_op_parallelism_threads(flags.threads)
    tf.config.threading.set_inter_op_parallelism_threads(flags.threads)
    dataset = pipeline(files, flags.threads, flags.calls, flags.shuffle)

    pictures, levels, values = 0, 0, 0
    for images, labels in dataset:
        pictures += len(labels)
        levels += int(images.numpy().sum(dtype="uint64"))
        values += images.shape.num_elements()
    began = time.perf_counter()
    for _ in range(flags.passes):
        for _batch in dataset:
            pass
    seconds = time.perf_counter() - began
    print(
        json.dumps(
            {
                "program": f"tf.data {tf.__version__}",
                "images_per_second": round(flags.passes * pictures / seconds, 1),
                "threads": flags.threads,
                "pictures": pictures,
                "passes": flags.passes,
                "mean_level": round(levels / values, 4),
                "peak_resident_bytes": peak_resident_bytes(),
            }
        )
    )


main()
