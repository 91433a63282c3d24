"""Measuring in turns: first that all compute the same losses, then pictures a second and memory."""

import statistics
from dataclasses import dataclass, field, replace

from programs import MIB, PICTURES, Failed, Job, Program, say

PRECISIONS = {"float": "Float", "bfloat16": "BFloat16"}
# At training's 1e-3 the first steps throw the loss up tenfold, and with it what programs round differently.
LOSSES, LOSS_RATE, LOSS_BOUND = 20, 5e-5, 0.01


class Refused(Exception):
    """Why a part is not reported."""


@dataclass
class Result:
    """Of one program under one job."""

    program: Program
    job: Job
    ready: dict = field(default_factory=dict)
    speeds: list = field(default_factory=list)  # pictures a second, a number for each turn
    evaluations: list = field(default_factory=list)
    peak: int = 0
    why: str = ""  # there are no numbers

    @property
    def speed(self):
        return statistics.median(self.speeds) if self.speeds else None

    @property
    def evaluation(self):
        return statistics.median(self.evaluations) if self.evaluations else None


def spread(values):
    return (max(values) - min(values)) / statistics.median(values)


class Bench:
    def __init__(self, flags, programs, data):
        self.flags, self.programs, self.data = flags, programs, data
        self.ours = programs[0]
        self.results, self.agreed = [], {}

    # -------------------------------------------------------------------------------------------------- agreement
    def losses(self, program, network):
        job = Job(network=network, batch=32, threads=self.flags.threads)  # BatchNorm over fewer: 1 % apart by rounding
        running = program.start(job, self.data)
        try:
            return running.wait_ready().ask(f"losses {LOSSES} {LOSS_RATE}")
        finally:
            running.close()

    def agree(self, network, keys):
        """Compares what programs compute, once for each network; raises Refused where one computes something else."""
        table = self.agreed.setdefault(network, {})
        todo = [p for p in self.programs if p.key in keys and p.key not in table and not p.missing]
        for program in todo:
            try:
                table[program.key] = self.losses(program, network)
            except Failed as problem:
                program.missing = f"failed: {problem}"
                say(f"{program.label}, losses of {network}: {program.missing}")
        ours = table.get("plimsoll")
        if ours is None:
            raise Refused(f"{network}: ours {self.ours.missing}")
        if (max(ours) - min(ours)) / max(ours) < 2 * LOSS_BOUND:
            raise Refused(f"{network}: our losses hardly move, so that they agree would say nothing")
        for program in self.programs:  # those of earlier parts too, so that none passes for having been refused before
            if program.key not in keys or program.key not in table:
                continue
            for step, (mine, theirs) in enumerate(zip(ours, table[program.key], strict=True), 1):
                if not abs(theirs - mine) <= LOSS_BOUND * abs(mine):
                    raise Refused(
                        f"{network}: {program.label} computes something else: at step {step} of {LOSSES} its loss is "
                        f"{theirs:.6f}, ours {mine:.6f}"
                    )
            if program in todo:
                say(f"{program.label}, {network}: losses agree")

    # ------------------------------------------------------------------------------------------------------ turns
    def measure(self, jobs, keys, evaluate=False, pictures=None, run_pass=False):
        """Results of programs that take turns.

        \\param jobs one for every program; of ours there may be several, for peers the last is taken
        \\param pictures of a turn, at least
        """
        flags, wanted = self.flags, [p for p in self.programs if p.key in keys and p.does(jobs[-1])]
        theirs = replace(jobs[-1], budget=0)
        results = [Result(p, job) for p in wanted for job in (jobs if p is self.ours else [theirs])]
        running = {}
        try:
            for number, result in enumerate(results):
                result.why = result.program.missing
                if not result.why:
                    self.guarded(result, lambda r=result, n=number: self.start(r, running, n, run_pass, evaluate))
            for attempt in range(flags.retries + 1):
                self.take_turns(results, running, evaluate, pictures or flags.turn, run_pass)
                ours = [turns for r in results if r.program is self.ours for turns in (r.speeds, r.evaluations)]
                widest = max((spread(turns) for turns in ours if turns), default=0)
                if widest <= flags.spread:
                    break
                say(f"our turns differ by {100 * widest:.0f} %" + (": once more" if attempt < flags.retries else ""))
            else:
                raise Refused(
                    f"our own turns differ by {100 * widest:.0f} % of their median, over {100 * flags.spread:.0f} %: "
                    "the machine does something else (--spread)"
                )
            for number, result in enumerate(results):
                if number in running and not result.why:
                    self.guarded(result, lambda r=result, n=number: setattr(r, "peak", running[n].quit()))
        finally:
            for each in running.values():
                each.close()
        if results[0].why:
            raise Refused(f"ours: {results[0].why}")
        self.results += results
        for result in results:
            told = f"{result.speed:,.1f} pictures/s" if result.speeds else result.why
            say(f"  {result.program.label}, {describe(result.job)}: {told}, {result.peak / MIB:,.0f} MiB")
        return results

    @staticmethod
    def guarded(result, call):
        try:
            call()
        except Failed as problem:
            result.why = f"failed: {problem}"
            result.speeds, result.evaluations, result.peak = [], [], 0
            say(f"{result.program.label}, {describe(result.job)}: {result.why}")

    def start(self, result, running, number, run_pass, evaluate):
        """To after a first turn that is not counted: code is compiled, pages are there."""
        running[number] = result.program.start(result.job, self.data)
        result.ready = running[number].wait_ready().ready
        if run_pass:
            running[number].ask("pass")
            return
        running[number].ask("train 2")
        if evaluate:
            running[number].ask("evaluate")

    def take_turns(self, results, running, evaluate, pictures, run_pass):
        for result in results:
            result.speeds, result.evaluations = [], []
        for turn in range(self.flags.rounds):
            for place in range(len(results)):
                number = (place + turn) % len(results)
                result = results[number]
                if not result.why:
                    self.guarded(result, lambda: self.turn(result, running[number], evaluate, pictures, run_pass))

    @staticmethod
    def turn(result, running, evaluate, pictures, run_pass):
        if run_pass:
            seconds, count, _ = running.ask("pass")
            result.speeds.append(count / seconds)
            return
        steps = max(1, pictures // result.job.batch)
        seconds, loss = running.ask(f"train {steps}")
        if loss != loss:
            raise Failed("its loss is not a number")
        result.speeds.append(steps * result.job.batch / seconds)
        if evaluate:
            times = 4 if result.job.network == "guide" else 1  # as many pictures: it is too fast for fewer to be timed
            answers = [running.ask("evaluate") for _ in range(max(1, times * pictures // PICTURES))]
            result.evaluations.append(sum(count for _, count in answers) / sum(took for took, _ in answers))


def describe(job):
    words = [job.network, PRECISIONS[job.precision], f"batch {job.batch}", f"{job.threads} threads"]
    return ", ".join(words + ([f"{job.budget / MIB:.1f} MiB"] if job.budget else []))
