#!/usr/bin/env python3
"""Training of bench/cuda/train_step.cu's networks as PyTorch has it; prints a line of JSON for each precision, batch
and way that is asked for, with commas between them. The first of several pays for what is loaded once, and is the only
one whose time to a first step and process's memory are told.

Pictures are bytes in pinned host memory, made before anything is timed; a stream of its own copies the next batch to
the device while a step widens this one there (/255), and runs forward, backward and Adam. Losses are not read back.
PLIMSOLL_BEGAN in the environment is when the program was called, in seconds since 1970.
"""

import argparse
import contextlib
import ctypes
import gc
import itertools
import json
import os
import statistics
import sys
import time
import traceback

began = float(os.environ.get("PLIMSOLL_BEGAN", time.time()))


class Nvml:
    """The driver's accounts of device memory, which can be asked without a context."""

    class Memory(ctypes.Structure):
        _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]

    def __init__(self):
        try:
            self.library = ctypes.CDLL("libnvidia-ml.so.1")
            self.ready = self.library.nvmlInit_v2() == 0
        except OSError:
            self.ready = False

    def used_bytes(self):
        """Bytes in use by whomever, by the device's UUID."""
        used, count = {}, ctypes.c_uint()
        if not self.ready or self.library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return used
        for index in range(count.value):
            handle, memory, uuid = ctypes.c_void_p(), self.Memory(), ctypes.create_string_buffer(96)
            if (
                self.library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) == 0
                and self.library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0
                and self.library.nvmlDeviceGetUUID(handle, uuid, len(uuid)) == 0
            ):
                used[uuid.value.decode()] = memory.used
        return used

    def driver_version(self):
        version = ctypes.create_string_buffer(96)
        if not self.ready or self.library.nvmlSystemGetDriverVersion(version, len(version)) != 0:
            return "unknown"
        return version.value.decode()


nvml = Nvml()
used_before = nvml.used_bytes()

import torch  # noqa: E402 (may take device memory)
from torch import nn  # noqa: E402

sys.dont_write_bytecode = True
import torch_networks  # noqa: E402 (beside this file)


PRECISIONS = ["float", "tf32", "bfloat16", "half"]
WAYS = ["eager", "graph", "compile", "compile-graph", "max-autotune"]
LEAST_SECONDS = 0.2  # of a round


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=["guide", "resnet18"], default="guide")
    words = lambda known: lambda text: [known[known.index(word)] for word in text.split(",")]  # noqa: E731
    parser.add_argument("--precision", type=words(PRECISIONS), default=["float"], help=", ".join(PRECISIONS))
    parser.add_argument("--way", type=words(WAYS), default=["eager"],
                        help=", ".join(WAYS) + "; graph: the whole step, optimizer included, as one CUDA graph; compile-graph: "
                        "compiled, and then that")
    parser.add_argument("--batch", type=lambda text: [int(word) for word in text.split(",")], default=[128])
    parser.add_argument("--rounds", type=int, default=7, help="that are timed, after one that is not")
    parser.add_argument("--steps", type=int, default=60,
                        help=f"least steps of a round, which lasts {LEAST_SECONDS} s at least")
    parser.add_argument("--no-evaluate", action="store_true", help="train only")
    parser.add_argument("--no-benchmark", action="store_true",
                        help="leave cuDNN's heuristics alone; else it tries its algorithms in the first step")
    parser.add_argument("--device", default="cuda", help="cpu tries the script where there is no GPU")
    return parser.parse_args()


class Pictures:
    """Batches of noise in host memory, handed out in turns."""

    made = {}  # by network and batch: making them takes longer than some measurements

    def __init__(self, flags):
        size = 150 if flags.network == "guide" else 32
        shape = (flags.batch, size, size, 3)
        count = max(2, min(8, (256 << 20) // (flags.batch * size * size * 3)))
        pin = flags.device == "cuda"
        key = (flags.network, flags.batch)
        if key not in self.made:
            self.made.clear()
            self.made[key] = [torch.randint(0, 256, shape, dtype=torch.uint8, pin_memory=pin) for _ in range(count)]
        self.batches = self.made[key]
        if flags.network == "guide":
            labels = (torch.arange(flags.batch) % 2).float().unsqueeze(1)  # (N, 1)
        else:
            labels = torch.arange(flags.batch) % 10  # (N)
        self.labels = labels.pin_memory() if pin else labels
        self.turn = 0

    def next(self):
        self.turn = (self.turn + 1) % len(self.batches)
        return self.batches[self.turn], self.labels


class OnDevice:
    """Batches on the device: a stream of its own copies the next while this one is worked on."""

    def __init__(self, pictures, device):
        self.pictures, self.device = pictures, device
        self.stream = torch.cuda.Stream() if device == "cuda" else None
        self.ahead = None

    def copy(self):
        return [tensor.to(self.device, non_blocking=True) for tensor in self.pictures.next()]

    def copy_ahead(self):
        with torch.cuda.stream(self.stream):
            self.ahead = self.copy()

    def next(self):
        if self.stream is None:
            return self.copy()
        if self.ahead is None:
            self.copy_ahead()
        working = torch.cuda.current_stream()
        working.wait_stream(self.stream)
        batch = self.ahead
        for tensor in batch:
            tensor.record_stream(working)  # its memory is not given away before it has been read
        self.copy_ahead()
        return batch


class Training:
    def __init__(self, flags):
        self.flags, self.device = flags, flags.device
        self.graphed = flags.way.endswith("graph")
        model = torch_networks.guide() if flags.network == "guide" else torch_networks.resnet18()
        self.model = model.to(self.device, memory_format=torch.channels_last)
        self.criterion = nn.BCEWithLogitsLoss() if flags.network == "guide" else nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True, capturable=self.graphed)
        self.dtype = {"bfloat16": torch.bfloat16, "half": torch.float16}.get(flags.precision)  # of autocast
        self.scaler = torch.amp.GradScaler(self.device, enabled=flags.precision == "half")
        self.logits_and_loss = self.plain_logits_and_loss
        if flags.way.startswith("compile"):
            self.logits_and_loss = torch.compile(self.plain_logits_and_loss)
        if flags.way == "max-autotune":
            self.logits_and_loss = torch.compile(self.plain_logits_and_loss, mode="max-autotune")

    def plain_logits_and_loss(self, pixels, labels):
        images = pixels.permute(0, 3, 1, 2).to(self.dtype or torch.float).div_(255)  # (N, 3, H, W), channels last
        logits = self.model(images)
        return logits, self.criterion(logits, labels)

    def precision(self):
        if self.dtype is None:
            return contextlib.nullcontext()
        # A graph must not hold casts of weights that were made, and kept, outside of it.
        return torch.autocast(self.device, dtype=self.dtype, cache_enabled=not self.graphed)

    def work(self, pixels, labels):
        """A step without its zero_grad."""
        with self.precision():
            _, loss = self.logits_and_loss(pixels, labels)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    def step(self, batch):
        if self.flags.way == "max-autotune":
            torch.compiler.cudagraph_mark_step_begin()
        self.optimizer.zero_grad(set_to_none=True)
        return self.work(*batch)

    def judge(self, pixels, labels):
        with self.precision():
            logits, loss = self.logits_and_loss(pixels, labels)
        if self.flags.network == "guide":
            return loss, ((logits > 0) == (labels > 0.5)).sum()
        return loss, (logits.argmax(1) == labels).sum()

    @torch.no_grad()
    def evaluate(self, batch):
        if self.flags.way == "max-autotune":
            torch.compiler.cudagraph_mark_step_begin()
        return self.judge(*batch)


class Recorded:
    """Work on fixed tensors as a CUDA graph, recorded after it has run three times on the same stream."""

    stream = None  # one for all: libraries keep a workspace for each stream that they have seen

    def __init__(self, batch, before, work):
        Recorded.stream = Recorded.stream or torch.cuda.Stream()
        self.inputs = [tensor.clone() for tensor in batch]
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                before()
                work(*self.inputs)
        torch.cuda.current_stream().wait_stream(self.stream)
        before()
        gc.collect()
        torch.cuda.empty_cache()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.output = work(*self.inputs)

    def __call__(self, batch):
        for mine, given in zip(self.inputs, batch):
            mine.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.output


def synchronize(flags):
    if flags.device == "cuda":
        torch.cuda.synchronize()


def rates(flags, batches, work):
    """Images a second of rounds, after one that is not counted and tells how long they are."""
    found, steps = [], flags.steps
    for _ in range(flags.rounds + 1):
        synchronize(flags)
        start = time.perf_counter()
        for _ in range(steps):
            work(batches.next())
        synchronize(flags)
        found.append(flags.batch * steps / (time.perf_counter() - start))
        steps = max(flags.steps, int(LEAST_SECONDS * found[0] / flags.batch) + 1)
    return found[1:]


def reason(problem):
    """In a line: what and why, not where to look further."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return f"{type(problem).__name__}: {lines[0] if lines else 'it says nothing'}"[:240]


def spread(name, values):
    if not values:
        return {}
    return {name: statistics.median(values), name + "_least": min(values), name + "_most": max(values)}


def process_device_bytes():
    """Since before PyTorch was there, the context included; None where the driver does not tell."""
    now, uuid = nvml.used_bytes(), "GPU-" + str(torch.cuda.get_device_properties(0).uuid)
    if uuid not in now and len(now) == 1:
        uuid = next(iter(now))
    return now[uuid] - used_before[uuid] if uuid in now and uuid in used_before else None


def measure(flags, first):
    """One precision, batch and way."""
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = flags.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = flags.precision == "tf32"
    torch.backends.cudnn.benchmark = not flags.no_benchmark

    preparing = time.time()
    pictures = Pictures(flags)
    preparing = time.time() - preparing
    batches = OnDevice(pictures, flags.device)

    training = Training(flags)
    training.model.train()
    step = training.step
    if training.graphed:
        zero_grad = lambda: training.optimizer.zero_grad(set_to_none=True)  # noqa: E731
        step = Recorded(batches.next(), zero_grad, training.work)
    step(batches.next())
    synchronize(flags)
    first_step = time.time() - began - preparing

    most_reserved = 0
    if flags.device == "cuda":
        for _ in range(3):
            step(batches.next())
        synchronize(flags)
        most_reserved = torch.cuda.max_memory_reserved()
        # What the search for algorithms took, and training does not need, is not held against it.
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trained = rates(flags, batches, step)
    record = {
        "way": flags.way,
        "network": flags.network,
        "precision": flags.precision,
        "batch": flags.batch,
        "rounds": flags.rounds,
        "steps": flags.steps,
        **spread("images_per_second", trained),
        "loss": float(step(batches.next())),
    }
    if first:
        record["seconds_to_first_step"] = first_step
    if flags.device == "cuda":
        record |= {
            "max_memory_allocated": torch.cuda.max_memory_allocated(),
            "max_memory_reserved": torch.cuda.max_memory_reserved(),
            "max_memory_reserved_at_the_start": most_reserved,
            "process_device_bytes": process_device_bytes() if first else None,
        }
    if not flags.no_evaluate:
        try:
            training.model.eval()
            evaluate = training.evaluate
            if training.graphed:
                evaluate = Recorded(batches.next(), lambda: None, torch.no_grad()(training.judge))
            record |= spread("evaluate_images_per_second", rates(flags, batches, evaluate))
        except Exception as problem:  # what training has shown is not lost
            record["evaluation_failed"] = reason(problem)
    record |= {
        "device": torch.cuda.get_device_name(0) if flags.device == "cuda" else flags.device,
        "driver": nvml.driver_version(),
        "torch": torch.__version__,
        "cuda_runtime": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }
    print(json.dumps(record), flush=True)


def main():
    flags = arguments()
    if flags.device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch_cuda.py: PyTorch sees no GPU")
    if any(way.endswith("graph") for way in flags.way) and flags.device != "cuda":
        sys.exit("torch_cuda.py: CUDA graphs need a GPU")
    wanted = list(itertools.product(flags.way, flags.batch, flags.precision))
    for number, (way, batch, precision) in enumerate(wanted):
        one = argparse.Namespace(**vars(flags) | {"way": way, "batch": batch, "precision": precision})
        try:
            measure(one, number == 0)
        except Exception as problem:
            traceback.print_exc()
            print(json.dumps({"way": way, "network": flags.network, "precision": precision, "batch": batch,
                              "failed": reason(problem)}), flush=True)
        try:
            clean(flags)
        except Exception:  # the device may be lost: then the next says so
            traceback.print_exc()


def clean(flags):
    """Leaves nothing of one measurement to the next."""
    gc.collect()
    torch.compiler.reset()
    if flags.device == "cuda":
        if hasattr(torch._C, "_cuda_clearCublasWorkspaces"):
            torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


main()
