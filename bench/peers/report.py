"""What was measured, as text between markers, and as files for bench/compare."""

import datetime
import json
import os
import pathlib
import platform
import re
import statistics

from programs import MIB, say
from turns import PRECISIONS


def table(heads, rows, left=1):
    """\\param left columns of words, before those of numbers"""
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join(["---"] * left + ["---:"] * (len(heads) - left)) + " |"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def by_turns(ours, theirs):
    """How many times as fast ours is: the median of the ratios of turns, and their extremes."""
    if not ours or len(ours) != len(theirs):
        return ""
    ratios = [mine / other for mine, other in zip(ours, theirs)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def number_or(value, why):
    return why if value is None else f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


class Report:
    """Text between markers, in one file."""

    def __init__(self, path, flags):
        self.path, self.flags = pathlib.Path(path), flags

    def write(self, name, lines):
        text = self.path.read_text() if self.path.exists() else ""
        begin, end = f"<!-- benchmark:{name} -->", f"<!-- /benchmark:{name} -->"
        content = begin + "\n" + "\n".join(lines).strip() + "\n" + end
        found = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        if found.search(text):
            text = found.sub(lambda _: content, text, count=1)
        else:
            text += ("\n" if text else "") + content + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(text)
        say(f"{self.path}: {name}")

    def rows(self, name):
        """The cells of the table in a part as it stands, its head first."""
        text = self.path.read_text() if self.path.exists() else ""
        part = re.search(f"<!-- benchmark:{re.escape(name)} -->(.*?)<!-- /benchmark", text, re.DOTALL)
        lines = [line for line in (part[1] if part else "").splitlines() if line.startswith("| ")]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]

    def turns(self):
        """How it was measured: a sentence."""
        how = f"Medians of {self.flags.rounds} turns, one program at a time, {self.flags.threads} threads each."
        return how + self.quick_note()

    def quick_note(self):
        return " **A quick run: it shows that this works, and no numbers.**" if self.flags.quick else ""


def speed_table(rows, programs, value, turns):
    """\\param rows [(words, results)] \\param value, turns (result) to a number, to a list of them"""
    peers = [p for p in programs if p.key != "plimsoll"]
    heads = ["precision", "batch", "Plimsoll", "least to most"]
    heads += [p.label for p in peers] + [f"times {p.label}" for p in peers]
    body = []
    for job, results in rows:
        by_key = {result.program.key: result for result in results}
        ours = by_key["plimsoll"]
        row = [PRECISIONS[job.precision], str(job.batch), number_or(value(ours), ours.why)]
        row.append(f"{number_or(min(turns(ours)), '')} to {number_or(max(turns(ours)), '')}")
        row += [number_or(value(by_key[p.key]), by_key[p.key].why) if p.key in by_key else "" for p in peers]
        row += [by_turns(turns(ours), turns(by_key[p.key])) if p.key in by_key else "" for p in peers]
        body.append(row)
    return table(heads, body, 1)


def memory_table(rows, programs):
    peers = [p for p in programs if p.key != "plimsoll"]
    heads = ["precision", "batch", "Plimsoll", "its arena"]
    for p in peers:
        heads += [p.label, "before the first step", "Plimsoll is"]
    body = []
    for job, results in rows:
        by_key = {result.program.key: result for result in results}
        ours = by_key["plimsoll"]
        row = [PRECISIONS[job.precision], str(job.batch), f"{ours.peak / MIB:,.0f}"]
        row.append(f"{ours.ready['arena_bytes'] / MIB:,.1f}")
        for p in peers:
            theirs = by_key.get(p.key)
            if theirs is None or not theirs.peak:
                row += [theirs.why if theirs else "", "", ""]
            else:
                row += [f"{theirs.peak / MIB:,.0f}", f"{theirs.ready['resident_bytes'] / MIB:,.0f}"]
                row.append(f"1/{theirs.peak / ours.peak:.1f}")
        body.append(row)
    return table(heads, body, 1)


def machine(flags, bench):
    """What was measured on, for a reader who compares."""
    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal: +(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.MULTILINE)
    cpu_flags = pathlib.Path("/proc/cpuinfo").read_text()
    isa = [name for word, name in (("avx2", "AVX2"), ("avx512f", "AVX-512"), ("avx512_bf16", "bfloat16"),
                                   ("amx_bf16", "AMX")) if re.search(rf"\b{word}\b", cpu_flags)]
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    kernel = platform.release().split("-")[0]  # what follows names a build of the system
    programs = {}
    for result in bench.results:
        if result.ready:
            programs[result.program.label] = result.ready["program"]
    lines = [
        f"{flags.threads} threads on {os.cpu_count()} processors of {model.group(1) if model else platform.machine()}"
        f"{' with ' + ', '.join(isa) if isa else ''}; {int(memory.group(1)) / MIB:.0f} GiB; {system}, Linux "
        f"{kernel}; {datetime.date.today()}. The machine's load before: {flags.load:.1f}.",
        "Programs: " + "; ".join(sorted(set(programs.values()))) + ".",
    ]
    return lines


def write_json(bench, folder):
    """A file for each program in Google Benchmark's form, for bench/compare."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {}
    for result in bench.results:
        if not result.speeds:
            continue
        job = result.job
        parts = ["end_to_end" if job.records else "train", job.network, PRECISIONS[job.precision],
                 f"batch:{job.batch}", f"threads:{job.threads}"]
        if job.budget and result.program.key == "plimsoll":
            parts.append(f"budget:{job.budget}")
        entry = {
            "name": "/".join(parts), "run_name": "/".join(parts), "run_type": "iteration",
            "iterations": len(result.speeds), "real_time": 1e3 * job.batch / result.speed,
            "cpu_time": 1e3 * job.batch / result.speed, "time_unit": "ms", "items_per_second": result.speed,
            "peak_resident_bytes": result.peak,
        }
        entries = names.setdefault(result.program.key, {})
        entries[entry["name"]] = entry
        if result.evaluations:
            name = entry["name"].replace("train/", "evaluate/", 1)
            took = 1e3 * job.batch / result.evaluation
            entries[name] = entry | {"name": name, "run_name": name, "real_time": took, "cpu_time": took,
                                     "items_per_second": result.evaluation}
    for key, entries in names.items():
        ready = next(r.ready for r in bench.results if r.program.key == key and r.ready)
        context = {"date": datetime.datetime.now().isoformat(timespec="seconds"), "num_cpus": os.cpu_count(),
                   "executable": ready["program"], "note": "cpu_time repeats real_time"}
        content = json.dumps({"context": context, "benchmarks": list(entries.values())}, indent=1)
        (folder / f"{key}.json").write_text(content + "\n")
