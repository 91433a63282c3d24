#!/usr/bin/env python3
"""Collects what bench/cuda/run measures, judges it, and makes tables and a plot of it.

report.py note LINES WORDS            how bench/cuda/run was called
report.py begin LINES name=value...   a run begins, whose output goes on in LINES.now: nothing is lost if it never ends
report.py end LINES LOG STATUS        it has ended: its lines of JSON go to LINES with the names given, and where STATUS
                                      is not 0 or there are none, one that says why, from LOG
report.py missing LINES name=value... network, precision, batch and way of what PyTorch was asked for and has no row
report.py quarter LINES name=value... budgets of a quarter of what PyTorch reserved that have no row, for --budget
report.py write LINES FOLDER          writes cuda.json, cuda.md and cuda_budget.svg into FOLDER
"""

import datetime
import itertools
import json
import math
import pathlib
import statistics
import sys

WAYS = {"plimsoll": "Plimsoll", "eager": "eager", "graph": "graphed", "compile": "compiled",
        "compile-graph": "compiled, graphed", "max-autotune": "max-autotune"}
PRECISIONS = {"float": "Float", "tf32": "TF32", "bfloat16": "BFloat16", "half": "Half"}
NETWORKS = {"guide": "The guide's network, 150 x 150 x 3", "resnet18": "ResNet-18 for 32 x 32 x 3"}
COLOURS = {"float": "#0072b2", "tf32": "#d55e00", "bfloat16": "#009e73", "half": "#cc79a7"}
MIB = 1 << 20


# ------------------------------------------------------------------------------------------------------ collecting
def reason(log, status):
    if status == 124:
        return "took longer than its limit"
    if status == 137:
        return "was killed: by its limit, or for its memory"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "rror: " in line or line.startswith("train_step_cuda: ")]
    return ((errors or lines or [f"ended with status {status} and said nothing"])[-1])[:240]


def named(row):
    return " ".join(str(row[name]) for name in ("part", "network", "precision", "batch", "way") if name in row)


def names_of(pairs):
    names = dict(pair.split("=", 1) for pair in pairs)
    return {name: int(value) if name in ("batch", "pass") and value.isdigit() else value
            for name, value in names.items()}


def now_of(lines):
    return pathlib.Path(lines + ".now")


def rows_of(text):
    """Rows of lines of JSON; what is no row, as a line that was cut off, is left out."""
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line) if line.startswith("{") else None
        except ValueError:
            continue
        if row is not None:
            rows.append(row)
    return rows


def note(lines, words):
    with open(lines, "a") as out:
        out.write(json.dumps({"part": "run", "flags": words, "date": datetime.date.today().isoformat()}) + "\n")


def begin(lines, *pairs):
    now_of(lines).write_text(json.dumps(names_of(pairs)) + "\n")


def under_way(lines):
    """The names of the run that is under way, and the rows it has told."""
    now = now_of(lines)
    found = rows_of(now.read_text(errors="replace")) if now.exists() else []
    return (found[0], found[1:]) if found else ({}, [])


def end(lines, log, status):
    names, rows = under_way(lines)
    if status != "0" or not rows:
        why = reason(pathlib.Path(log).read_text(errors="replace"), int(status))
        rows.append({"failed": why if status != "0" else "printed no numbers"})
    with open(lines, "a") as out:
        for row in rows:
            row = names | row
            out.write(json.dumps(row) + "\n")
            speed = row.get("images_per_second", row.get("percent_of_copy"))
            told = row["failed"] if "failed" in row else "no speed" if speed is None else f"{speed:,.0f}"
            print(f"{named(row)}: {told}", file=sys.stderr)
    now_of(lines).unlink()


def read(lines):
    path = pathlib.Path(lines)
    rows = rows_of(path.read_text()) if path.exists() else []
    names, told = under_way(lines)
    return Rows(rows + [names | row for row in told])


def missing(lines, *pairs):
    """One line each: what a process that died was to measure after it."""
    wanted, rows = names_of(pairs), read(lines)
    kinds = [str(wanted[name]).split(",") for name in ("way", "batch", "precision")]
    for way, batch, precision in itertools.product(*kinds):
        row = {"part": "speed", "network": wanted["network"], "way": way, "batch": int(batch), "precision": precision}
        if not rows.of(**row):
            print(wanted["network"], precision, batch, way)


def quarter(lines, *pairs):
    """\\param pairs network, precision and batch"""
    rows, cell = read(lines), {"part": "speed"} | names_of(pairs)
    budgets = {quarter_of(rows, way, cell) for way in WAYS if way != "plimsoll"} - {None}
    print(",".join(one for one in sorted(budgets) if not rows.of(**cell | {"part": "quarter", "budget": one})))


def quarter_of(rows, way, cell):
    reserved = rows.median("max_memory_reserved", way=way, **cell)
    return f"{int(reserved / 4) // MIB}MiB" if reserved else None


# ---------------------------------------------------------------------------------------------------------- tables
class Rows:
    """All rows of a report; collects the failures it is asked about."""

    def __init__(self, rows):
        self.rows, self.failures = rows, []

    def of(self, **wanted):
        return [row for row in self.rows if all(row.get(name) == value for name, value in wanted.items())]

    def values(self, name, **wanted):
        return sorted({row[name] for row in self.of(**wanted) if name in row})

    def median(self, name, **wanted):
        """Over the passes; None where nothing is known."""
        found = [row[name] for row in self.of(**wanted) if row.get(name) is not None]
        return statistics.median(found) if found else None

    def failed(self, **wanted):
        """What stands in the way of a number: a run that failed, perhaps as one of several in a process."""
        for row in self.rows:
            if "failed" in row and all(
                str(value) in str(row[name]).split(",") for name, value in wanted.items() if name in row
            ):
                if row not in self.failures:
                    self.failures.append(row)
                return f"see ({self.failures.index(row) + 1})"
        return "not measured"

    def cell(self, name, show, **wanted):
        value = self.median(name, **wanted)
        if value is not None:
            return show(value)
        measured = [row for row in self.of(**wanted) if "failed" not in row]
        why = next((row["evaluation_failed"] for row in measured if "evaluation_failed" in row), "")
        return why if measured else self.failed(**wanted)


def whole(value):
    return f"{value:,.0f}"


def mib(value):
    return f"{value / MIB:,.0f}"


def table(heads, rows):
    """\\param heads the first for labels, at the left; the others for numbers"""
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def ways_of(rows):
    told = {way for row in rows.of(part="speed") for way in row["way"].split(",")}
    return [way for way in WAYS if way in told]


def cells_of(rows, network):
    for precision in PRECISIONS:
        for batch in rows.values("batch", part="speed", network=network, precision=precision):
            yield {"part": "speed", "network": network, "precision": precision, "batch": batch}


def spread(rows, name, **wanted):
    """(median, least, most) of rounds; None where nothing is known."""
    found = [row for row in rows.of(**wanted) if row.get(name) is not None]
    if not found:
        return None
    return (statistics.median(row[name] for row in found), min(row.get(name + "_least", row[name]) for row in found),
            max(row.get(name + "_most", row[name]) for row in found))


def over(ours, theirs):
    """The ratio of two spreads, as a spread."""
    return ours[0] / theirs[0], ours[1] / theirs[2], ours[2] / theirs[1]


def ratios(rows, name, others, cell):
    ours = spread(rows, name, way="plimsoll", **cell)
    theirs = [spread(rows, name, way=way, **cell) for way in others]
    return [f"{over(ours, other)[0]:.2f}" if ours and other else "" for other in theirs]


# --------------------------------------------------------------------------------------------------------- verdicts
class Verdicts:
    """What was to be shown, and whether it was."""

    def __init__(self, rows):
        self.rows, self.lines, self.count = rows, [], {"met": 0, "missed": 0, "not measured": 0}

    def judge(self, what, wanted, found, remark="", why="", refused=False):
        """\\param found (median, least, most), or None, and then why \\param refused whether that is a miss"""
        verdict = "not measured" if found is None else "met" if found[0] >= wanted else "missed"
        verdict = "missed" if refused else verdict
        self.count[verdict] += 1
        numbers = ["", ""] if found is None else [f"{found[0]:.2f}", f"{found[1]:.2f} to {found[2]:.2f}"]
        remark = remark if found is not None else why
        self.lines.append([what, f"{wanted:.2f}", *numbers, verdict + (f" ({remark})" if remark else "")])

    def speed(self, precision, batch):
        cell = {"part": "speed", "network": "guide", "precision": precision, "batch": batch}
        name = f"{PRECISIONS[precision]}, batch {batch}"
        ours = spread(self.rows, "images_per_second", way="plimsoll", **cell)
        theirs = {way: spread(self.rows, "images_per_second", way=way, **cell) for way in WAYS if way != "plimsoll"}
        theirs = {way: speed for way, speed in theirs.items() if speed}
        eager = theirs.get("eager")
        why = self.rows.failed(way="plimsoll" if not ours else "eager", **cell)
        self.judge(f"{name}: times eager", 1.3 if batch < 512 else 1.0, over(ours, eager) if ours and eager else None,
                   why=why)
        if batch < 512:
            fastest = max(theirs, key=lambda way: theirs[way][0], default=None)
            without = [WAYS[way] for way in WAYS if way not in theirs and way not in ("plimsoll", "max-autotune")]
            remark = WAYS.get(fastest, "") + (f"; not measured: {'; '.join(without)}" if without else "")
            self.judge(f"{name}: times PyTorch's fastest", 1.0,
                       over(ours, theirs[fastest]) if ours and fastest else None, remark, why)
            self.quarter(name, cell, "eager", eager)
            if fastest not in (None, "eager"):
                self.quarter(name, cell, fastest, theirs[fastest])

    def quarter(self, name, cell, way, theirs):
        """Our speed in a quarter of what a way reserves, over its own."""
        budget = quarter_of(self.rows, way, cell)
        of_quarter = cell | {"part": "quarter", "budget": budget}
        ours = spread(self.rows, "images_per_second", **of_quarter) if budget else None
        refused = not ours and any("failed" in row for row in self.rows.of(**of_quarter))
        self.judge(f"{name}: in a quarter of what {WAYS[way]} reserves, times its speed", 1.0,
                   over(ours, theirs) if ours and theirs else None, budget,
                   self.rows.failed(**of_quarter) if budget else self.rows.failed(way=way, **cell), refused)

    def budget(self, precision):
        points = {point["budget"]: point for point in self.rows.of(part="budget", precision=precision)
                  if "images_per_second" in point}
        case, free = points.get("500MiB"), points.get("max")
        what = f"{PRECISIONS[precision]}, batch 128 in 500 MiB: times no budget"
        if not case or not free:
            return self.judge(what, 0.95, None, why=self.rows.failed(part="budget", precision=precision))
        three = [tuple(p["images_per_second" + end] for end in ("", "_least", "_most")) for p in (case, free)]
        self.judge(what, 0.95, over(*three), f"arenas {mib(case['arena_bytes'])} and {mib(free['arena_bytes'])} MiB")

    def copies(self):
        for precision in ("float", "bfloat16", "half"):
            row = next((row for row in self.rows.of(part="copy", precision=precision) if "percent_of_copy" in row), None)
            found = row and tuple(row["percent_of_copy" + end] / 100 for end in ("", "_least", "_most"))
            self.judge(f"{PRECISIONS[precision]}: an elementwise kernel, of the copy", 0.85, found,
                       why=self.rows.failed(part="copy"))


def verdict_section(rows):
    verdicts = Verdicts(rows)
    for precision in PRECISIONS:
        for batch in (32, 128, 512):
            verdicts.speed(precision, batch)
    for precision in PRECISIONS:
        verdicts.budget(precision)
    verdicts.copies()
    count = ", ".join(f"{number} {word}" for word, number in verdicts.count.items())
    return [f"{count}. Ratios of medians; from the least of ours over the most of theirs to the contrary:", ""] + table(
        ["the guide's network", "wanted", "found", "least to most", "verdict"], verdicts.lines)


def speed_table(rows, network, name, step_alone):
    ways = ways_of(rows)
    others = [way for way in ways if way != "plimsoll"]
    heads = ["precision, batch", "Plimsoll"] + (["`step` alone"] if step_alone else [])
    heads += [WAYS[way] for way in others] + [f"of {WAYS[way]}" for way in others]
    body = []
    for cell in cells_of(rows, network):
        row = [f"{PRECISIONS[cell['precision']]}, {cell['batch']}", rows.cell(name, whole, way="plimsoll", **cell)]
        if step_alone:
            row.append(rows.cell("step_images_per_second", whole, way="plimsoll", **cell))
        row += [rows.cell(name, whole, way=way, **cell) for way in others]
        body.append(row + ratios(rows, name, others, cell))
    return table(heads, body)


def memory_table(rows, network):
    others = [way for way in ways_of(rows) if way != "plimsoll"]
    heads = ["precision, batch", "Plimsoll's arena", "process"]
    for way in others:
        heads += [f"{WAYS[way]}, reserved", "process"]
    body = []
    for cell in cells_of(rows, network):
        row = [f"{PRECISIONS[cell['precision']]}, {cell['batch']}"]
        for way, name in [("plimsoll", "arena_bytes")] + [(way, "max_memory_reserved") for way in others]:
            row += [rows.cell(one, mib, way=way, **cell) for one in (name, "process_device_bytes")]
        body.append(row)
    return table(heads, body)


def first_step_table(rows, network):
    ways = ways_of(rows)
    body = []
    for cell in cells_of(rows, network):
        row = [rows.cell("seconds_to_first_step", "{:.1f}".format, way=way, **cell) for way in ways]
        body.append([f"{PRECISIONS[cell['precision']]}, {cell['batch']}"] + row)
    return table(["precision, batch"] + [WAYS[way] for way in ways], body)


def curves(rows):
    """The points of the budget's curve by precision, in order of their budgets; without one, of their arenas."""
    found = {}
    for precision in PRECISIONS:
        points = rows.of(part="budget", precision=precision)
        points = [point for point in points if "images_per_second" in point]
        if points:
            found[precision] = sorted(points, key=lambda p: (p["budget"] == "max", p.get("budget_bytes", 0)))
    return found


def budget_section(rows):
    lines, found = [], curves(rows)
    for precision, points in found.items():
        free = next((point for point in points if point["budget"] == "max"), None)
        case = next((point for point in points if point["budget"] == "500MiB"), None)
        if free and case:
            lines += [
                f"- **{PRECISIONS[precision]}: batch {case['batch']} within 500 MiB trains "
                f"{whole(case['images_per_second'])} images a second, "
                f"{case['images_per_second'] / free['images_per_second']:.3f} of the "
                f"{whole(free['images_per_second'])} without a budget** (arenas {mib(case['arena_bytes'])} and "
                f"{mib(free['arena_bytes'])} MiB, micro-batches {case['micro_batch']} and {free['micro_batch']})."
            ]
    body = []
    for precision in PRECISIONS:
        for point in rows.of(part="budget", precision=precision):
            if "failed" in point:
                body.append([f"{PRECISIONS[precision]}", rows.cell("arena_bytes", mib, **point)] + [""] * 5)
        points = found.get(precision, [])
        free = next((point["images_per_second"] for point in points if point["budget"] == "max"), None)
        for point in points:
            budget = "none" if point["budget"] == "max" else f"{point['budget_bytes'] / MIB:,.1f}"
            body.append(
                [PRECISIONS[precision], budget, f"{point['arena_bytes'] / MIB:,.1f}", str(point["micro_batch"]),
                 str(point["recompute"]), whole(point["images_per_second"]),
                 f"{point['images_per_second'] / free:.2f}" if free else ""]
            )
    heads = ["precision", "budget, MiB", "arena, MiB", "micro-batch", "recompute", "images a second", "of no budget"]
    picture = ["![Images a second against the budget](cuda_budget.svg)", ""] if found else []
    return (lines + [""] if lines else []) + table(heads, body) + picture


def copy_section(rows):
    body = []
    for row in rows.of(part="copy"):
        if "failed" in row:
            body.append([row.get("precision", "all"), rows.cell("percent_of_copy", whole, **row), "", "", ""])
        else:
            body.append(
                [PRECISIONS[row["precision"]], whole(row["copy_gigabytes_per_second"]),
                 whole(row["kernel_gigabytes_per_second"]), f"{row['percent_of_copy']:.1f} %",
                 f"{row['percent_of_copy_least']:.1f} to {row['percent_of_copy_most']:.1f} %"]
            )
    return table(["precision", "copy, GB/s", "ReLU, GB/s", "of the copy", "least to most"], body)


def version(number, scale):
    return f"{number // scale}.{number % scale // (scale // 100 if scale > 1000 else 10)}"


def machine(rows):
    """Who was measured: a line for each combination that occurs."""
    found = []
    for row in rows.rows:
        if "device" not in row:
            continue
        runtime = row["cuda_runtime"]
        runtime = version(runtime, 1000) if isinstance(runtime, int) else runtime
        cudnn = version(row["cudnn"], 10000) if row.get("cudnn") else "none"
        who = f"PyTorch {row['torch']}" if "torch" in row else "Plimsoll"
        line = f"- {who}: {row['device']}, driver {row['driver']}, CUDA {runtime}, cuDNN {cudnn}"
        if line not in found:
            found.append(line)
    return found + [""]


def markdown(rows):
    calls = [f"`{' '.join(['bench/cuda/run', row['flags']]).strip()}` ({row['date']})" for row in rows.of(part="run")]
    lines = ["# Plimsoll on a GPU, beside PyTorch", "", f"Made by {', '.join(calls) or '`bench/cuda/run`'}.", ""]
    lines += machine(rows)
    lines += ["## What it was to show", "", *verdict_section(rows)]
    networks = [network for network in NETWORKS if rows.of(part="speed", network=network)]
    if networks:
        together = any("together" in row for row in rows.of(part="speed"))
        turns = "Plimsoll's runs first, then PyTorch's in one process" if together else "runs in turns, a process each"
        lines += [
            f"Training, images a second: medians of rounds, {turns}. Plimsoll's is `fit`:",
            "shuffled bytes out of host memory, losses read at every step; `step` alone repeats one batch.",
            "PyTorch's is channels last, with batches of bytes that lie ready in pinned memory and are copied ahead,",
            "fused Adam, cuDNN's search for algorithms, and losses that are not read.",
            "",
        ]
    for network in networks:
        lines += [f"## {NETWORKS[network]}", "", "Training, images a second, and Plimsoll's over the others':", ""]
        lines += speed_table(rows, network, "images_per_second", step_alone=True)
        if any("evaluate_images_per_second" in row for row in rows.of(part="speed", network=network)):
            lines += ["Evaluation, likewise:", ""]
            lines += speed_table(rows, network, "evaluate_images_per_second", step_alone=False)
        lines += [
            "Device memory, MiB. Reserved is what PyTorch's allocator held at most after its search for algorithms;",
            "process is what the driver says came into use while the program ran, the context included:",
            "",
        ]
        lines += memory_table(rows, network)
        lines += [
            "Seconds from the call of the program to the end of its first step (graphed: the first that is repeated),",
            "without making the pictures, with nothing compiled beforehand. PyTorch's has cuDNN's search in it:",
            "",
        ]
        lines += first_step_table(rows, network)
    if rows.of(part="budget"):
        lines += ["## Speed against budget: the guide's network, batch 128", ""] + budget_section(rows)
    if rows.of(part="copy"):
        lines += ["## Elementwise kernels beside a copy, 64 MiB arrays", ""] + copy_section(rows)
    failed = rows.failures + [row for row in rows.rows if "failed" in row and row not in rows.failures]
    if failed:
        lines += ["## Runs without numbers", ""]
        lines += [f"{number}. {named(row)}: {row['failed']}" for number, row in enumerate(failed, 1)] + [""]
    return "\n".join(lines).rstrip() + "\n"


# ------------------------------------------------------------------------------------------------------------ plot
def round_step(high, count):
    """A round number that divides `high` into about `count`."""
    rough = high / count
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)


def plot(found):
    """Lines of images a second over budgets, the budgets on a logarithmic axis."""
    width, height, left, right, top, bottom = 760, 420, 76, 28, 84, 56
    at = {
        precision: [((p["arena_bytes"] if p["budget"] == "max" else p["budget_bytes"]) / MIB, p) for p in points]
        for precision, points in found.items()
    }
    every = [x for points in at.values() for x, _ in points]
    low, most = min(every) / 1.12, max(every) * 1.12
    fastest = max(p["images_per_second"] for points in found.values() for p in points)
    device, batch = next((p["device"], p["batch"]) for points in found.values() for p in points)
    step = round_step(fastest, 6)
    high = step * math.ceil(fastest * 1.05 / step)

    def x(value):
        return left + math.log(value / low) / math.log(most / low) * (width - left - right)

    def y(value):
        return height - bottom - value / high * (height - top - bottom)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="24" font-size="15" font-weight="bold">Speed against budget: {device}</text>',
        f'<text x="{left}" y="42" fill="#666">The guide\'s network, batch {batch}, full data, Adam; numbers are '
        f'images in a micro-batch.</text>',
        f'<circle cx="{left + 96 * len(found) + 5}" cy="60" r="3.5" fill="#fff" stroke="#333" stroke-width="1.5"/>',
        f'<text x="{left + 96 * len(found) + 16}" y="64">without a budget</text>',
    ]
    for number, precision in enumerate(found):
        begin = left + 96 * number
        out += [
            f'<line x1="{begin}" x2="{begin + 22}" y1="60" y2="60" stroke="{COLOURS[precision]}" stroke-width="2"/>',
            f'<circle cx="{begin + 11}" cy="60" r="3.5" fill="{COLOURS[precision]}"/>',
            f'<text x="{begin + 28}" y="64">{PRECISIONS[precision]}</text>',
        ]
    for tick in range(round(high / step) + 1):
        value = tick * step
        out += [
            f'<line x1="{left}" x2="{width - right}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e4e4e4"/>',
            f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,.0f}</text>',
        ]
    last = -math.inf
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(most)) + 1):
        for factor in (1, 1.5, 2, 3, 4, 5, 6, 8):
            value = factor * 10**power
            if not low <= value <= most or x(value) - last < 40:
                continue
            last = x(value)
            out += [
                f'<path stroke="#333" d="M{last:.1f} {height - bottom}v4"/>',
                f'<text x="{last:.1f}" y="{height - bottom + 18}" text-anchor="middle">{value:,.4g}</text>',
            ]
    if low < 500 < most:
        anchor, shift = ("end", -6) if x(500) > width / 2 else ("start", 6)
        out += [
            f'<line x1="{x(500):.1f}" x2="{x(500):.1f}" y1="{top}" y2="{height - bottom}" stroke="#999" '
            f'stroke-dasharray="4 4"/>',
            f'<text x="{x(500) + shift:.1f}" y="{height - bottom - 8}" text-anchor="{anchor}" fill="#666">500 MiB'
            f'</text>',
        ]
    taken = [(x(value), y(point["images_per_second"])) for points in at.values() for value, point in points]
    for precision, points in at.items():
        colour, points = COLOURS[precision], sorted(points, key=lambda one: one[0])
        places = [(x(value), y(point["images_per_second"])) for value, point in points]
        line = " L".join(f"{across:.1f} {up:.1f}" for across, up in places)
        out.append(f'<path fill="none" stroke="{colour}" stroke-width="2" d="M{line}"/>')
        for (across, up), (value, point) in zip(places, points):
            fill = "#fff" if point["budget"] == "max" else colour
            out.append(
                f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3.5" fill="{fill}" stroke="{colour}" stroke-width="1.5">'
                f"<title>{PRECISIONS[precision]}, {value:,.1f} MiB: {point['micro_batch']} images in a micro-batch, "
                f"{point['images_per_second']:,.0f} images/s</title></circle>"
            )
            if all(abs(across - other) > 20 or abs(up - 13 - height_of) > 10 for other, height_of in taken):
                taken.append((across, up - 13))
                out.append(
                    f'<text x="{across:.1f}" y="{up - 9:.1f}" text-anchor="middle" font-size="11" fill="{colour}">'
                    f"{point['micro_batch']}</text>"
                )
    out += [
        f'<line x1="{left}" x2="{width - right}" y1="{height - bottom}" y2="{height - bottom}" stroke="#333"/>',
        f'<text x="{(left + width - right) / 2:.1f}" y="{height - 14}" text-anchor="middle">budget of the arena, MiB '
        f'(logarithmic)</text>',
        f'<text transform="translate(18 {(top + height - bottom) / 2:.1f}) rotate(-90)" text-anchor="middle">'
        f'images a second, training</text>',
        "</svg>",
    ]
    return "\n".join(out) + "\n"


def write(lines, folder):
    rows = read(lines)
    folder = pathlib.Path(folder)
    folder.joinpath("cuda.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows.rows) + "\n]\n")
    folder.joinpath("cuda.md").write_text(markdown(rows))
    found = curves(rows)
    if found:
        folder.joinpath("cuda_budget.svg").write_text(plot(found))


def main():
    commands = {"note": (note, 2), "begin": (begin, 1), "end": (end, 3), "missing": (missing, 2), "quarter": (quarter, 2),
                "write": (write, 2)}
    name, given = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if name not in commands or len(given) < commands[name][1]:
        sys.exit(__doc__)
    commands[name][0](*given)


main()
