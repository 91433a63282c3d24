#!/usr/bin/env python3
"""Lets bench/train_peer and its peers train in turns, and writes what was measured; tools/benchmark calls it.

Nothing is written for a network whose programs do not compute the same losses, nor for a part in which our own turns
differ by more than --spread, however often they are taken anew. A peer that is not there is a column that says so.
"""

import argparse
import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # the modules beside this file
import plots  # noqa: E402
from programs import HERE, MIB, PICTURES, ROOT, Data, Failed, Job, find_programs, say  # noqa: E402
from report import Report, machine, memory_table, number_or, speed_table, table, write_json  # noqa: E402
from turns import LOSS_BOUND, LOSS_RATE, LOSSES, PRECISIONS, Bench, Refused  # noqa: E402

NETWORKS = {"guide": "the network of docs/design.md, 150 x 150 x 3", "resnet18": "ResNet-18, 32 x 32 x 3"}
PARTS = ("training", "resnet18", "end-to-end", "accuracy", "dlib", "batch", "threads", "budget")


class Parts:
    """What is measured and what is made of it; each returns after it has written."""

    def __init__(self, bench, report, programs):
        self.bench, self.report, self.flags = bench, report, bench.flags
        self.programs = programs
        self.frameworks = [p.key for p in programs if p.key != "dlib"]
        self.shown = [p for p in programs if p.key != "dlib"]

    def job(self, **more):
        return Job(**({"threads": self.flags.threads} | more))

    def rows(self, network, batches):
        rows = []
        for precision in PRECISIONS:
            for batch in batches:
                job = self.job(network=network, precision=precision, batch=batch)
                rows.append((job, self.bench.measure([job], self.frameworks, evaluate=True)))
        return rows

    def speeds(self, told, rows, shown=None, evaluated=False):
        """A sentence and a table of pictures a second."""
        turns = (lambda r: r.evaluations) if evaluated else (lambda r: r.speeds)
        value = (lambda r: r.evaluation) if evaluated else (lambda r: r.speed)
        return [f"{told}. {self.report.turns()}", ""] + speed_table(rows, shown or self.shown, value, turns)

    def memory(self, rows, shown=None, more=""):
        """\\param more what else it counts"""
        told = (
            f"The most memory that was resident in a program, MiB, {more or f'the {PICTURES} pictures in it'}; of it, "
            "what was resident before the first step, when libraries and weights are there"
        )
        versions = [result.ready.get("program", "") for _, results in rows for result in results]
        if any("PyTorch" in version and "+cu" in version for version in versions):
            told += " (PyTorch's package brings CUDA's libraries, which count, though no GPU is used)"
        told += ":"
        return [told, ""] + memory_table(rows, shown or self.shown)

    def training(self):
        self.bench.agree("guide", self.frameworks)
        rows = self.rows("guide", self.flags.batches)
        told = f"Pictures a second, training {NETWORKS['guide']}, with Adam and dropout"
        self.report.write("training", self.speeds(told, rows))
        told = "Pictures a second, evaluating the same network between the turns of training"
        self.report.write("evaluation", self.speeds(told, rows, evaluated=True))
        self.report.write("memory", self.memory(rows))
        self.agreement()

    def resnet18(self):
        self.bench.agree("resnet18", self.frameworks)
        rows = self.rows("resnet18", self.flags.batches)
        lines = self.speeds(f"Pictures a second, training {NETWORKS['resnet18']}, with Adam", rows)
        told = "Pictures a second, evaluating it between the turns of training"
        lines += self.speeds(told, rows, evaluated=True)
        self.report.write("resnet18", lines + self.memory(rows))
        self.agreement()

    def agreement(self):
        rows = []
        for network, losses in self.bench.agreed.items():
            ours = losses["plimsoll"]
            for program in self.programs:
                if program.key == "plimsoll" or program.key not in losses:
                    continue
                off = [abs(b - a) / abs(a) for a, b in zip(ours, losses[program.key])]
                worst = off.index(max(off))
                rows.append([NETWORKS[network], program.label, f"{ours[0]:.4f} to {ours[-1]:.4f}",
                             f"{100 * off[0]:.5f} %", f"{100 * off[worst]:.3f} %, at step {worst + 1}"])
        told = (
            f"Losses of {LOSSES} steps of Adam at {LOSS_RATE:g} from the same weights, over the same pictures in the "
            "same order, in float and without dropout. Nothing is reported of a network for which a peer's differ by "
            f"more than {100 * LOSS_BOUND:g} %:"
        )
        heads = ["network", "peer", "our loss", "first step differs by", "at most"]
        asked = {(NETWORKS[network], program.label) for network in self.bench.agreed for program in self.programs}
        rows += [  # what this run did not ask stays as it was told
            row for row in self.report.rows("agreement")[1:]
            if row[0] in NETWORKS.values() and tuple(row[:2]) not in asked
        ]
        if rows:
            self.report.write("agreement", [told, ""] + table(heads, rows, 2))

    def end_to_end(self):
        self.bench.agree("guide", self.frameworks)
        pattern, what = self.bench.data.records(self.flags.records, self.flags.quick)
        rows = []
        for precision in ("bfloat16",) if self.flags.quick else PRECISIONS:
            for batch in self.flags.batches:
                job = self.job(precision=precision, batch=batch, records=pattern)
                rows.append((job, self.bench.measure([job], self.frameworks, run_pass=True)))
        told = (
            f"Pictures a second, training the same network from JPEG: {what}, decoded with the accurate DCT, resized "
            "to 150 x 150 and shuffled anew for each pass, of which a turn is one (exactly, TensorFlow's 1,000 at a "
            "time). Beside the threads that train, ours reads with threads of its own, TensorFlow by tf.data, PyTorch "
            "by the workers of a DataLoader"
        )
        lines = self.speeds(told, rows)
        lines += self.memory(rows, more="with what PyTorch's workers have for themselves")
        self.report.write("end-to-end", lines)

    def accuracy(self):
        """After each epoch, over pictures that are not trained on, in the mean of some seeds."""
        if not self.bench.data.files(self.flags.records):
            if "accuracy" in self.flags.only.split():
                raise Refused("made-up pictures say nothing of accuracy (--records)")
            return say("  not measured: made-up pictures say nothing of it (--records)")
        programs = [p for p in self.programs if p.key in ("plimsoll", "keras")]
        self.bench.agree("guide", [p.key for p in programs])
        pattern, what = self.bench.data.records(self.flags.records, self.flags.quick)
        train, epochs, seeds = (320, 1, (1,)) if self.flags.quick else (2048, 16, (1, 2, 3))
        shown = [epoch for epoch in (1, 2, 4, 6, 8, 10, 12, 14, 16) if epoch <= epochs]
        rows, held_out = [], set()
        for program in programs:
            why, curves = program.missing, []
            for seed in () if why else seeds:
                try:
                    curve, counts = self.curve(program, self.job(records=pattern, train=train, seed=seed), epochs)
                except Failed as problem:
                    why, curves = f"failed: {problem}", []
                    say(f"{program.label}, seed {seed}: {why}")
                    break
                curves.append(curve)
                held_out |= counts
                say(f"  {program.label}, seed {seed}: " + " ".join(f"{accuracy:.1f}" for accuracy in curve))
            means = [f"{statistics.mean(each):.1f} ({min(each):.1f} to {max(each):.1f})" for each in zip(*curves)]
            rows.append([program.label] + ([means[epoch - 1] for epoch in shown] if means else [why]))
        if len(held_out) != 1:
            raise Refused(f"programs held out {sorted(held_out)} pictures")
        told = (
            "Accuracy in percent after so many epochs, training the same network from the same weights on the first "
            f"{train} of the {what}, over the other {held_out.pop():.0f}: Float, batch 32, Adam, dropout. Means of "
            f"{len(seeds)} seeds of shuffles and dropout, with the least and the most. Ours shuffles exactly, Keras "
            "1,000 at a time; ours stores resized pictures as bytes, Keras as floats."
        ) + self.report.quick_note()
        self.report.write("accuracy", [told, ""] + table(["program", *map(str, shown)], rows))

    def curve(self, program, job, epochs):
        """Percents, and how many pictures they are of."""
        running = program.start(job, self.bench.data)
        try:
            running.wait_ready()
            found, counts = [], set()
            for _ in range(epochs):
                running.ask("pass")
                _, count, accuracy = running.ask("validate")
                found.append(100 * accuracy)
                counts.add(count)
            return found, counts
        finally:
            running.close()

    def dlib(self):
        if not any(p.key == "dlib" for p in self.programs):
            return
        keys = ["plimsoll", "dlib"]
        shown = [p for p in self.programs if p.key in keys]
        self.bench.agree("guide", keys)
        job = self.job()
        pictures = self.flags.turn if self.flags.quick else 128
        rows = [(job, self.bench.measure([job], keys, pictures=pictures))]
        lines = self.speeds("Pictures a second, training the same network beside dlib with OpenBLAS", rows, shown)
        self.report.write("dlib", lines + self.memory(rows, shown))
        self.agreement()
        self.compile()

    def compile(self):
        """Seconds and memory of the compiler for programs that do the same (ours is cut down to what dlib's does), and
        for the examples under each compiler there is."""
        out = str(self.bench.data.folder / "compiled.o")
        ours, folder = compile_command(self.flags.build, "bench/train_peer.cpp", out)
        native = [word for word in ours if word.startswith("-m")]
        theirs = [ours[0], *"-std=c++17 -O3 -DNDEBUG".split(), *native, "-c", "-o", out, str(HERE / "dlib_step.cpp")]
        small = [*ours, "-DTRAIN_PEER_SMALL"]
        commands = {
            "Plimsoll with its library, bench/train_peer.cpp": small,
            "Plimsoll by headers alone, the same": [word for word in small if word != "-DPLIMSOLL_COMPILED=1"],
            "dlib with its library, bench/peers/dlib_step.cpp": theirs,
        }
        found = {name: [] for name in commands}
        for _ in range(1 if self.flags.quick else 3):
            for name, command in commands.items():
                found[name].append(compile_cost(command, folder))
        library, folder = compile_command(self.flags.build, "plimsoll_library_native.cpp", out)
        found["Plimsoll's library itself, once"] = [compile_cost(library, folder)]
        rows = [cost_row([name], costs) for name, costs in found.items()]
        flags = " ".join(["-O3", *native])
        told = f"The same network and protocol, float, compiled with {flags} by {version_of(ours[0])}:"
        lines = [told, ""] + table(["program", "seconds", "compiler's peak, MiB"], rows, 1)

        rows = []
        for example in ("examples/fashion_mnist.cpp", "examples/cats_vs_dogs.cpp"):
            command, folder = compile_command(self.flags.build, example, out)
            rows.append(cost_row([example, version_of(command[0])], [compile_cost(command, folder)]))
            if shutil.which("clang++"):
                cost = compile_cost(["clang++", *command[1:]], folder)
                rows.append(cost_row([example, version_of("clang++")], [cost]))
            if (ROOT / "build/cuda/compile_commands.json").exists():
                command, folder = compile_command(ROOT / "build/cuda", example, out)
                cost = compile_cost(command, folder)
                rows.append(cost_row([example, version_of(command[0]) + ", for a GPU"], [cost]))
        told = "The examples, for each precision they offer, once each; with the library, but for a GPU:"
        lines += [told, ""] + table(["example", "compiler", "seconds", "compiler's peak, MiB"], rows, 2)
        self.report.write("compile", lines)

    # ---------------------------------------------------------------------------------------------------- plots
    def series(self, points, value):
        """{label: [(x, y)]} of results by x."""
        lines = {}
        for x, results in points:
            for result in results:
                if value(result):
                    lines.setdefault(result.program.label, []).append((x, value(result)))
        return lines

    def missing(self, results):
        """What a picture does not show, as lines."""
        why = {f"{result.program.label}: {result.why}" for result in results if result.why}
        return ["", "Not shown: " + "; ".join(sorted(why)) + "."] if why else []

    def picture(self, name, **what):
        path = self.report.path.parent / f"performance_{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(plots.draw(**what))
        say(f"{path}")
        return path.name

    def batch(self):
        self.bench.agree("guide", self.frameworks)
        batches = (8, 16) if self.flags.quick else (8, 16, 32, 64, 128, 256)
        points = []
        for batch in batches:
            job = self.job(batch=batch)
            pictures = max(self.flags.turn // 2, batch)
            points.append((batch, self.bench.measure([job], self.frameworks, pictures=pictures)))
        below = f"{NETWORKS['guide']}, Float, Adam, {self.flags.threads} threads, {self.flags.rounds} turns"
        speed = self.picture(
            "batch", title="Speed against batch", subtitle=below, across="pictures in a batch", logarithmic=True,
            up="pictures a second, training", lines=self.series(points, lambda r: r.speed), ticks=batches,
        )
        memory = self.picture(
            "memory", title="Memory against batch", subtitle=below, across="pictures in a batch", logarithmic=True,
            up="most memory resident, MiB", lines=self.series(points, lambda r: r.peak / MIB), ticks=batches,
        )
        lines = [f"![Speed against batch]({speed})", "", f"![Memory against batch]({memory})"]
        self.report.write("batch", lines + self.missing([result for _, results in points for result in results]))

    def threads(self):
        self.bench.agree("guide", self.frameworks)
        counts = sorted({1, 2, 4, 8, 16, 32, self.flags.threads} & set(range(1, self.flags.threads + 1)))
        points = []
        for count in counts:
            job = self.job(threads=count, batch=8 if self.flags.quick else 32)
            points.append((count, self.bench.measure([job], self.frameworks)))
        name = self.picture(
            "threads", title="Speed against threads", across="threads", up="pictures a second, training",
            subtitle=f"{NETWORKS['guide']}, Float, Adam, batch {points[0][1][0].job.batch}, {self.flags.rounds} turns",
            lines=self.series(points, lambda r: r.speed), ticks=counts,
        )
        missing = self.missing([result for _, results in points for result in results])
        self.report.write("threads", [f"![Speed against threads]({name})", *missing])

    def budget(self):
        """Ours by its budget; the peers, which take none, beside it."""
        self.bench.agree("guide", self.frameworks)
        batch = 16 if self.flags.quick else 128
        command = [*self.bench.ours.command, "--plans", "--batch", str(batch), "--threads", str(self.flags.threads)]
        plan = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        least, usual = plan["least"], plan["usual"]
        count = 3 if self.flags.quick else 7
        budgets = [int(least * (usual / least) ** (k / (count - 1))) + 1 for k in range(count)]
        jobs = [self.job(batch=batch, budget=budget) for budget in budgets]
        results = self.bench.measure(jobs, self.frameworks, pictures=max(self.flags.turn // 2, batch))
        ours = [result for result in results if result.program.key == "plimsoll"]
        line = [(result.job.budget / MIB, result.speed) for result in ours if result.speeds]
        levels = {
            f"{r.program.label}: {r.peak / MIB:,.0f} MiB resident": r.speed
            for r in results
            if r.program.key != "plimsoll" and r.speeds
        }
        name = self.picture(
            "budget", title="Speed against budget", across="budget of the arena, MiB",
            subtitle=f"{NETWORKS['guide']}, batch {batch}, Float, Adam, {self.flags.threads} threads",
            up="pictures a second, training", lines={"Plimsoll": line}, levels=levels,
        )
        rows = [[f"{r.job.budget / MIB:.1f}", f"{r.ready['arena_bytes'] / MIB:.1f}", f"{r.peak / MIB:,.0f}",
                 str(r.ready["micro_batch"]), number_or(r.speed, r.why)] for r in ours if r.ready]
        heads = ["budget, MiB", "arena, MiB", "most resident, MiB", "micro-batch", "pictures a second"]
        lines = [f"![Speed against budget]({name})", *self.missing(results), ""]
        self.report.write("budget", lines + table(heads, rows, 0))


def compile_command(build, source, out):
    """How a build compiles a source: words, and where."""
    entries = json.loads((pathlib.Path(build) / "compile_commands.json").read_text())
    entry = next(entry for entry in entries if entry["file"].endswith("/" + source))
    words = shlex.split(entry["command"])
    if words[0].endswith("ccache"):
        words = words[1:]
    words[words.index("-o") + 1] = out
    return words, entry["directory"]


def version_of(compiler):
    """Its name and version, of the line that says it: nvcc's is the last but one."""
    lines = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout.splitlines()
    return next((line for line in lines if "release" in line), lines[0])


def cost_row(words, costs):
    if None in costs:
        return [*words, "does not compile: not installed?", ""]
    seconds, peak = (statistics.median(values) for values in zip(*costs))
    return [*words, f"{seconds:.1f}", f"{peak / MIB:,.0f}"]


def compile_cost(command, folder):
    """(seconds, bytes of the largest process), or None where it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return (time.perf_counter() - began, usage.ru_maxrss * 1024) if process.returncode == 0 else None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build/host"))
    parser.add_argument("--peers", default="keras torch dlib")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--spread", type=float, default=0.15)
    parser.add_argument("--retries", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", default=str(ROOT / "docs/performance.md"))
    reference = os.environ.get("PLIMSOLL_REFERENCE", str(ROOT.parent / "shared"))
    parser.add_argument("--records", default=reference + "/data/cats_vs_dogs-train.tfrecord-*")
    flags = parser.parse_args()
    flags.rounds = flags.rounds or (3 if flags.quick else 5)
    flags.batches = (16,) if flags.quick else (32, 128)
    flags.turn = 32 if flags.quick else 512
    flags.parts = flags.only.split() or list(PARTS)
    for part in flags.parts:
        if part not in PARTS:
            parser.error(f"--only does not know {part}: {', '.join(PARTS)}")
    if flags.rounds < 1 or flags.retries < 0 or flags.threads < 1:
        parser.error("--rounds, --retries and --threads are numbers of times and threads")
    return flags


def main():
    flags = arguments()
    flags.load = os.getloadavg()[0]
    if flags.load > 0.3:
        say(f"The machine is not quiet: its load is {flags.load:.1f}")
    work = pathlib.Path(tempfile.mkdtemp(prefix="plimsoll-benchmark-"))
    refused = []
    try:
        programs = find_programs(flags)
        bench = Bench(flags, programs, Data(programs[0].command[0], work))
        report = Report(flags.out, flags)
        parts = Parts(bench, report, programs)
        for name in PARTS:
            if name not in flags.parts:
                continue
            say(f"{name}:")
            try:
                getattr(parts, name.replace("-", "_"))()
            except Refused as problem:
                refused.append(f"{name}: {problem}")
                say(f"REFUSED, {refused[-1]}")
        if bench.results:
            report.write("machine", machine(flags, bench))
            write_json(bench, ROOT / "build/peers/report")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if refused:
        sys.exit("drive.py: not reported:\n  " + "\n  ".join(refused))


main()
