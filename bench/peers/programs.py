"""The programs that take turns: what each is called, how it is started and spoken to, what all train on."""

import json
import os
import pathlib
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "bench/peers"
MIB = 1 << 20
PICTURES = 256  # of made-up pictures, seen again and again: a multiple of all batches
# As PyTorch's guide to speed on processors advises: memory that was freed is kept, and pages are large.
TUNED = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296", "THP_MEM_ALLOC_ENABLE": "1"}


def say(text):
    print(text, file=sys.stderr, flush=True)


class Failed(Exception):
    """A program that ended, or said what no program should."""


@dataclass(frozen=True)
class Job:
    network: str = "guide"
    precision: str = "float"
    batch: int = 32
    threads: int = 1
    budget: int = 0  # bytes of our arena; 0: what is free
    records: str = ""
    train: int = 0  # of the records, from the first on; the others are held out
    seed: int = 1


@dataclass
class Program:
    """A way to train: what to call it, and how it is started for a job."""

    key: str
    label: str
    command: list
    environment: dict = field(default_factory=dict)
    flags: list = field(default_factory=list)
    missing: str = ""  # why it cannot be had

    def start(self, job, data):
        flags = ["--batch", str(job.batch), "--weights", str(data.weights(job.network)), *self.flags]
        if self.key != "dlib":
            flags += ["--network", job.network, "--precision", job.precision, "--threads", str(job.threads)]
        if job.budget and self.key == "plimsoll":
            flags += ["--budget", str(job.budget)]
        flags += ["--records", job.records] if job.records else ["--data", str(data.arrays(job.network))]
        if job.train:  # ours and Keras
            flags += ["--train", str(job.train), "--seed", str(job.seed)]
        threads = {name: str(job.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        return Running(self, [*self.command, *flags], os.environ | threads | self.environment)

    def does(self, job):
        return self.key != "dlib" or (job.network, job.precision, job.records) == ("guide", "float", "")


class Running:
    """A program that was started, and is spoken to as protocol.py says."""

    def __init__(self, program, command, environment):
        self.program = program
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=environment, bufsize=0
        )
        self.rest = b""
        self.ready = None

    def wait_ready(self):
        while self.ready is None:
            line = self.line(600)
            if line.startswith("ready "):
                self.ready = json.loads(line[6:])
        return self

    def line(self, seconds):
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.rest:
                if not selector.select(max(0, deadline - time.monotonic())):
                    raise Failed(f"did not answer within {seconds:.0f} s")
                found = os.read(self.process.stdout.fileno(), 65536)
                if not found:
                    raise Failed(self.last_words())
                self.rest += found
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode()

    def ask(self, command, seconds=3600):
        """The numbers of its answer."""
        try:
            self.process.stdin.write(command.encode() + b"\n")
        except BrokenPipeError:
            raise Failed(self.last_words()) from None
        line = self.line(seconds)
        try:
            return [float(word) for word in line.split()]
        except ValueError:
            raise Failed(f"answered {line!r} to {command!r}") from None

    def quit(self):
        """The most bytes that were resident."""
        (peak,) = self.ask("quit", 60)
        self.process.wait(60)
        return int(peak)

    def last_words(self):
        status = self.process.wait(60)
        self.log.seek(0)
        lines = [line.strip() for line in self.log.read().splitlines() if line.strip()]
        return lines[-1][:240] if lines else f"ended with status {status} and said nothing"

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.log):
            file.close()


class Data:
    """Made-up pictures and initial weights, written by ours for all."""

    def __init__(self, program, folder):
        self.program, self.folder = program, pathlib.Path(folder)

    def arrays(self, network):
        prefix = self.folder / network
        if not prefix.with_suffix(".safetensors").exists():
            command = [self.program, "--network", network, "--write", prefix, "--pictures", str(PICTURES)]
            subprocess.run(command, check=True)
        return prefix

    def weights(self, network):
        return self.arrays(network).with_suffix(".safetensors")

    @staticmethod
    def files(wanted):
        """TFRecord files of a pattern, without the indices beside them."""
        found = sorted(pathlib.Path(wanted).parent.glob(pathlib.Path(wanted).name))
        return [file for file in found if file.suffix != ".plimsoll-index"]

    def records(self, wanted, quick):
        """A pattern of TFRecord files and what they are. Links, because an index is written beside what is read."""
        files = self.files(wanted)[: 1 if quick else None]
        folder = self.folder / "records"
        folder.mkdir(exist_ok=True)
        for file in files:
            link = folder / file.name
            if not link.exists():
                link.symlink_to(file.resolve())
        if files:
            return str(folder / "*"), f"pictures in {len(files)} TFRecord file{'s' if len(files) > 1 else ''}"
        made, pictures = folder / "made-up.tfrecord", 256 if quick else 2048
        subprocess.run([self.program, "--write-records", made, "--pictures", str(pictures)], check=True)
        return str(made), f"{pictures} made-up pictures of 200 x 200 in a TFRecord file"


def find_programs(flags):
    """Ours and the peers that were asked for, with what they miss."""
    ours = Program("plimsoll", "Plimsoll", [str(pathlib.Path(flags.build) / "bench/train_peer")])
    if not os.access(ours.command[0], os.X_OK):
        sys.exit(f"drive.py: {ours.command[0]} is not there: tools/benchmark builds it")
    found = [ours]
    for key in flags.peers.split():
        base, _, variant = key.partition("-")
        if base == "dlib":
            program = Program(key, "dlib", [str(ROOT / "build/peers/dlib_step")])
            if not os.access(program.command[0], os.X_OK):
                program.missing = "not installed"
        else:
            folder, module, label = {
                "keras": ("venv", "tensorflow", "Keras"),
                "torch": ("torch", "torch", "PyTorch"),
            }[base]
            python = ROOT / "build/peers" / folder / "bin/python"
            program = Program(key, label, [str(python), str(HERE / f"{base}_step.py")])
            if variant == "tuned":
                program.environment = TUNED
            elif variant:
                program.flags = ["--" + variant]
            if variant:
                program.label += f" ({variant})"
            probe = [python, "-c", f"import {module}"]
            if not python.exists() or subprocess.run(probe, capture_output=True).returncode != 0:
                program.missing = "not installed"
        if program.missing:
            say(f"{program.label}: {program.missing}")
        found.append(program)
    return found
