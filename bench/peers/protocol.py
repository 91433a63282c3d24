"""How a driver and the programs that take turns speak: ours (bench/train_peer.cpp) and the peers'.

A program that is ready prints `ready {...}`, one line of JSON. Then a command is a line on stdin, its answer a line on
stdout:

    train K     K optimizer steps (Adam, 1e-3) over the pictures in their order, from the first: seconds, last loss
    evaluate    forward over all pictures, without dropout: seconds, pictures
    losses K R  K steps without dropout at learning rate R, from the given weights, by a network made for it: K losses
    pass        all pictures once, in a new order, read from TFRecord files: seconds, pictures, mean loss
    validate    forward over the records that are not trained on (--train): seconds, pictures, accuracy
    quit        the most bytes that were resident at once; then the program ends

Pictures lie in host memory as bytes and become floats (/255) in the step, in every program.
"""

import argparse
import json
import os
import sys
import time


def status_bytes(name, process="self"):
    """A line of /proc/<process>/status: VmRSS is what is resident now, VmHWM the most that was."""
    with open(f"/proc/{process}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name + ":"))


def private_bytes(process):
    """What a process has for itself: of pages shared by a fork only those it has written."""
    try:
        with open(f"/proc/{process}/smaps_rollup") as lines:
            return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
    except OSError:
        return 0


def arguments(description):
    """The flags that all peers have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--network", choices=["guide", "resnet18"], default="guide")
    parser.add_argument("--precision", choices=["float", "bfloat16"], default="float")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", help="initial weights: safetensors, PyTorch's names and layouts")
    parser.add_argument("--data", help="<PREFIX>_images.npy and <PREFIX>_labels.npy")
    parser.add_argument("--records", help="train from JPEGs in TFRecord files of this pattern instead")
    parser.add_argument("--no-dropout", dest="dropout", action="store_false")
    return parser


def read_npy(path):
    """An array as NumPy writes it, read without mapping."""
    import numpy

    return numpy.load(path)


def read_safetensors(path):
    """Tensors by name, float32 (the only type that train_peer writes)."""
    import numpy

    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        if entry["dtype"] != "F32":
            sys.exit(f"{path}: {name} is {entry['dtype']}, not F32")
        tensors[name] = numpy.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])
    return tensors


class Arrays:
    """The pictures of a data set in host memory, batch by batch."""

    def __init__(self, prefix, batch):
        self.images, self.labels = read_npy(prefix + "_images.npy"), read_npy(prefix + "_labels.npy")
        self.batch = batch
        if len(self.images) % batch:
            sys.exit(f"{len(self.images)} pictures are no whole number of batches of {batch}")
        self.batches = len(self.images) // batch

    def __len__(self):
        return len(self.images)

    def at(self, step):
        """(N, H, W, C) of uint8, (N) of int32; begins again after the last."""
        first = step % self.batches * self.batch
        return self.images[first : first + self.batch], self.labels[first : first + self.batch]


def speak(ready, train=None, evaluate=None, losses=None, run_pass=None, validate=None,
          peak_bytes=lambda: status_bytes("VmHWM")):
    """Answers commands until `quit`. What others print goes to stderr.

    \\param ready a dict for the first line \\param train (K) to the last loss \\param evaluate () to pictures
    \\param losses (K, R) to K losses \\param run_pass () to (pictures, mean loss)
    \\param validate () to (pictures, accuracy)
    """
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    out.write("ready " + json.dumps(ready | {"resident_bytes": status_bytes("VmRSS")}) + "\n")
    for line in sys.stdin:
        words = line.split()
        began = time.perf_counter()
        if words[:1] == ["train"] and train:
            loss = train(int(words[1]))
            out.write(f"{time.perf_counter() - began:.9g} {loss:.9g}\n")
        elif words == ["evaluate"] and evaluate:
            pictures = evaluate()
            out.write(f"{time.perf_counter() - began:.9g} {pictures}\n")
        elif words[:1] == ["losses"] and losses:
            out.write(" ".join(f"{loss:.9g}" for loss in losses(int(words[1]), float(words[2]))) + "\n")
        elif words == ["pass"] and run_pass:
            pictures, loss = run_pass()
            out.write(f"{time.perf_counter() - began:.9g} {pictures} {loss:.9g}\n")
        elif words == ["validate"] and validate:
            pictures, accuracy = validate()
            out.write(f"{time.perf_counter() - began:.9g} {pictures} {accuracy:.9g}\n")
        elif words == ["quit"]:
            break
        else:
            sys.exit(f"no command {line!r}")
    out.write(f"{peak_bytes()}\n")
