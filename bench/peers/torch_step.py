#!/usr/bin/env python3
"""The networks of bench/train_peer.cpp in PyTorch, trained at a driver's word (see protocol.py).

With what makes PyTorch fast on a processor: channels last, a fused Adam, autocast for bfloat16, threads as many as are
given. --compile compiles the network by torch.compile too.
"""

import contextlib
import glob
import os
import struct
import sys

sys.dont_write_bytecode = True
import protocol  # noqa: E402 (beside this file)

parser = protocol.arguments(__doc__.splitlines()[0])
parser.add_argument("--compile", action="store_true", help="by torch.compile")
parser.add_argument("--workers", type=int, default=0, help="processes that decode (0: as many as threads)")
flags = parser.parse_args()
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch  # noqa: E402 (reads the environment)
from torch import nn  # noqa: E402

import torch_networks  # noqa: E402 (beside this file)

torch.set_num_threads(flags.threads)


class Training:
    def __init__(self, dropout, rate=1e-3):
        model = torch_networks.guide(dropout) if flags.network == "guide" else torch_networks.resnet18()
        if flags.weights:
            tensors = {name: torch.tensor(value) for name, value in protocol.read_safetensors(flags.weights).items()}
            found = model.load_state_dict(tensors, strict=False)
            missing = [name for name in found.missing_keys if not name.endswith("num_batches_tracked")]
            if missing or found.unexpected_keys:
                sys.exit(f"{flags.weights}: missing {missing}, unexpected {found.unexpected_keys}")
        self.model = model.to(memory_format=torch.channels_last).train()
        self.criterion = nn.BCEWithLogitsLoss() if flags.network == "guide" else nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=rate, fused=True)
        self.forward = torch.compile(self.model) if flags.compile else self.model
        self.dtype = torch.bfloat16 if flags.precision == "bfloat16" else torch.float32

    def precision(self):
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast("cpu", dtype=self.dtype)

    def logits_and_loss(self, images, labels):
        """\\param images (N, H, W, C) of uint8 \\param labels (N)"""
        pixels = images.permute(0, 3, 1, 2).to(self.dtype).mul_(1 / 255)  # (N, C, H, W), channels last in memory
        with self.precision():
            logits = self.forward(pixels).float()
        wanted = labels.float().unsqueeze(1) if flags.network == "guide" else labels.long()
        return logits, self.criterion(logits, wanted)

    def step(self, images, labels):
        self.optimizer.zero_grad(set_to_none=True)
        _, loss = self.logits_and_loss(images, labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def judge(self, images, labels):
        logits, loss = self.logits_and_loss(images, labels)
        right = (logits[:, 0] > 0) == (labels > 0) if flags.network == "guide" else logits.argmax(1) == labels
        return loss, right.sum()


def varint(data, at):
    """A number of a protocol buffer and where it ends."""
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """(number, value) of a message: numbers, or bytes as views."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        yield key >> 3, value


def example(data):
    """The image and the label of a serialised tf.train.Example."""
    found = {}
    for _, features in fields(memoryview(data)):
        for _, entry in fields(features):
            parts = dict(fields(entry))
            found[bytes(parts[1])] = parts[2]
    image = next(value for _, value in fields(next(fields(found[b"image"]))[1]))
    label = next(value for _, value in fields(next(fields(found[b"label"]))[1]))
    return image, label if isinstance(label, int) else varint(label, 0)[0]


class Records(torch.utils.data.Dataset):
    """JPEGs in TFRecord files, decoded as they are asked for. Checksums are not looked at."""

    def __init__(self, pattern):
        self.places, self.files = [], {}
        for path in sorted(name for name in glob.glob(pattern) if not name.endswith(".plimsoll-index")):
            with open(path, "rb") as file:
                while head := file.read(12):
                    (size,) = struct.unpack("<Q", head[:8])
                    self.places.append((path, file.tell(), size))
                    file.seek(size + 4, os.SEEK_CUR)

    def __len__(self):
        return len(self.places)

    def __getitem__(self, number):
        """(150, 150, 3) of uint8 and the label."""
        path, at, size = self.places[number]
        if path not in self.files:
            self.files[path] = os.open(path, os.O_RDONLY)  # each worker opens its own
        image, label = example(os.pread(self.files[path], size, at))
        pixels = torchvision_io.decode_jpeg(torch.frombuffer(bytearray(image), dtype=torch.uint8),
                                            mode=torchvision_io.ImageReadMode.RGB)  # (3, H, W)
        pixels = resize(pixels, [150, 150], antialias=False)
        return pixels.permute(1, 2, 0).contiguous(), label


def main():
    training = Training(flags.dropout)
    ready = {"program": f"PyTorch {torch.__version__}", "threads": flags.threads}
    if flags.records:
        global torchvision_io, resize
        from torchvision import io as torchvision_io
        from torchvision.transforms.v2.functional import resize

        workers = flags.workers or flags.threads
        loader = torch.utils.data.DataLoader(
            Records(flags.records), flags.batch, shuffle=True, drop_last=True, num_workers=workers,
            persistent_workers=True, prefetch_factor=4,
        )
        most_private = 0

        def run_pass():
            nonlocal most_private
            pictures, total = 0, torch.zeros([])
            for images, labels in loader:
                total += training.step(images, labels)
                pictures += len(labels)
            processes = [worker.pid for worker in loader._iterator._workers]
            most_private = max(most_private, sum(protocol.private_bytes(process) for process in processes))
            return pictures, float(total) / (pictures // flags.batch)

        # This process's most, and what the workers have for themselves.
        protocol.speak(ready | {"workers": workers}, run_pass=run_pass,
                       peak_bytes=lambda: protocol.status_bytes("VmHWM") + most_private)
        return
    arrays = protocol.Arrays(flags.data, flags.batch)

    def at(step):
        images, labels = arrays.at(step)
        return torch.from_numpy(images), torch.from_numpy(labels)

    def train(steps):
        training.model.train()
        for step in range(steps):
            loss = training.step(*at(step))
        return float(loss)

    def losses(steps, rate):
        plain = Training(False, rate)
        return [float(plain.step(*at(step))) for step in range(steps)]

    @torch.inference_mode()
    def evaluate():
        training.model.eval()
        total, right = 0.0, 0
        for step in range(arrays.batches):
            loss, found = training.judge(*at(step))
            total, right = total + float(loss), right + int(found)
        return len(arrays)

    protocol.speak(ready | {"pictures": len(arrays)}, train, evaluate, losses)


main()
