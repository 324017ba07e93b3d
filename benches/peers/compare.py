"""Measures hemapatch against ONNX Runtime and OpenVINO, in turns: compare.py [--quick] [--series FOLDER] [--only PART]...

Every engine is a process of its own that has loaded its network and waits. A turn runs each of them once on the same
patches, so that a machine with other work slows all alike; what is compared are the ratios within turns. Prints the
table of README in Markdown, and writes everything that was measured to benches/record/<target>/<date>-peers.txt.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import time
from pathlib import Path

import networks
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
OUT = ROOT / "out" / "peers"
SHIPPED = ROOT / "models" / "ich16"
DATA = ROOT.parent / "shared" / "data"
HEAD = DATA / "ge_philips_dcm_qa_ct" / "GE_human_head"
PICTURES = DATA / "phe_sich" / "images"
# Views and side of a patch. The first is what ships.
NETWORKS = ((5, 16), (3, 16), (1, 16), (1, 32))
# What oneDNN, and with it OpenVINO, may use of a processor that has AMX: with it, it is not always the faster.
LIMITED = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}
# Hides from ONNX Runtime, which has no such setting, what is newer than AVX2.
OLDER = {"LD_PRELOAD": str(HERE / ".venv" / "older.so")}
LIMITS = {"ONEDNN_MAX_CPU_ISA": "limited to AVX512-VNNI", "LD_PRELOAD": "limited to AVX2"}
# Long enough for the clock, short enough that both sides of a ratio see the same load.
SHORTEST_S = 0.06
SETTLE_S = 0.03
TICKS = os.sysconf("SC_CLK_TCK")


def program(*arguments):
    return subprocess.run([str(one) for one in arguments], check=True, capture_output=True, text=True, cwd=ROOT).stdout


def build():
    """The program and this bench's engine."""
    cargo = os.environ.get("CARGO", "cargo")
    program(cargo, "build", "--release", "--bin", "hemapatch")
    lines = program(cargo, "bench", "--bench", "peers", "--no-run", "--message-format=json").splitlines()
    found = [line["executable"] for line in map(json.loads, lines) if line.get("target", {}).get("name") == "peers"]
    return ROOT / "target" / "release" / "hemapatch", Path(found[-1])


class Resident:
    """An engine in a process of its own."""

    def __init__(self, name, command, environment=None):
        self.name, self.seconds, self.idle_s, self.busy_s, self.idle_wall_s = name, [], 0.0, 0.0, 0.0
        self.process = subprocess.Popen(
            [str(one) for one in command],
            env=os.environ | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about = self.answer()
        self.times = max(1, int(np.ceil(SHORTEST_S / self.ask("run 1").get("seconds", 1.0))))
        self.left = self.clocks()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended")
        return json.loads(line)

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        return self.answer()

    def clocks(self):
        """Processor and wall time until now. The kernel counts threads that have ended too."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS, time.perf_counter()

    def turn(self):
        time.sleep(SETTLE_S)
        before = self.clocks()
        self.idle_s += before[0] - self.left[0]
        self.idle_wall_s += before[1] - self.left[1]
        answer = self.ask(f"run {self.times}")
        self.left = self.clocks()
        self.busy_s += self.left[0] - before[0]
        self.seconds.append(answer.pop("seconds", None))
        return answer

    def processor_seconds(self):
        """Of one run, on the average."""
        return self.busy_s / (len(self.seconds) * self.times)

    def logits(self):
        path = OUT / "logits.f32"
        self.ask(f"logits {path}")
        return np.fromfile(path, "<f4").reshape(-1, 4)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def in_turns(residents, turns):
    for turn in range(turns):
        # Each begins at another place: what runs behind a hot engine is not always the same one.
        start = turn % len(residents)
        for resident in residents[start:] + residents[:start]:
            resident.turn()


def in_words(network):
    views, size = network
    return f"{views} view{'s' * (views > 1)} of {size}x{size} pixels"


def spread(values, digits=2):
    low, middle, high = np.percentile(values, [10, 50, 90])
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


class Bench:
    def __init__(self, arguments):
        self.turns = 5 if arguments.quick else 15
        self.lines, self.tables, self.bars = [], [], []
        self.hemapatch, self.engine = build()
        OUT.mkdir(parents=True, exist_ok=True)
        self.series, self.series_name = arguments.series, "the series given"
        if self.series is None and HEAD.is_dir():
            self.series, self.series_name = HEAD, "GE_human_head, 28 slices"
        if self.series is None:
            self.series, self.series_name = OUT / "phantom", "a phantom, 28 slices"
            if not self.series.is_dir():
                program(self.hemapatch, "phantom", "-o", self.series, "--seed", 1, "--site", "putamen", "--volume-ml", 30)
        self.limits = (None,)
        if " amx_int8" in Path("/proc/cpuinfo").read_text():
            self.limits = (None, LIMITED)

    def say(self, text=""):
        print(text, flush=True)
        self.lines.append(text)

    def bar(self, what, values, bar, at_least=True):
        """What was hoped for, and what came of it."""
        holds = np.median(values) >= bar if at_least else np.median(values) <= bar
        self.bars.append([what, f"{'at least' if at_least else 'at most'} {bar}", spread(values), "yes" if holds else "no"])

    def table(self, head, rows):
        lines = [" | ".join(["", *row, ""]).strip() for row in [head, ["---"] * len(head), *rows]]
        self.tables.append("\n".join(lines))
        self.say("\n".join(lines))
        self.say()

    def prepare(self, views, size):
        """A model, patches of the series for timing, and the ends of its halves."""
        model = SHIPPED
        if (views, size) != NETWORKS[0]:
            model = OUT / f"views{views}size{size}"
            networks.model_folder(SHIPPED, model, views, size)
        every, some, ranges = (OUT / f"views{views}size{size}.{suffix}" for suffix in ("all.u8", "u8", "json"))
        program(self.engine, "cut", model, every, self.series)
        patches = np.fromfile(every, np.uint8).reshape(-1, views, size, size)
        count = min(len(patches), 1024 if size == 16 else 512)
        patches = patches[np.linspace(0, len(patches) - 1, count).astype(int)]
        patches.tofile(some)
        ranges.write_text(json.dumps(networks.half_ranges(networks.Shipped(SHIPPED), views, size, patches)))
        return model, some, ranges, count

    def peer(self, runtime, prepared, network, precision, taps, threads, limit=None):
        """One of the runtimes; `limit` has the variables that keep it off some of the processor's instructions."""
        _, patches, ranges, _ = prepared
        words = [{"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}[runtime], precision]
        words.append({"all": "plain ONNX", "live": "dead-tap-free ONNX"}[taps])
        words += [LIMITS[next(iter(limit))]] if limit else []
        command = [PYTHON, HERE / "peer.py", runtime, SHIPPED, *network, precision, taps, threads, patches, ranges]
        return Resident(", ".join(words), command, limit)

    def own(self, prepared, precision, threads, *level):
        model, patches, _, _ = prepared
        name = ", ".join(["hemapatch", precision, *level])
        return Resident(name, [self.engine, "run", model, patches, precision, threads, *level])

    def report(self, residents, count, against, brief=()):
        """A process each: speed, how it compares, what it does while others run, unless `brief`, what it runs."""
        base = np.array(against.seconds)
        for resident in residents:
            seconds = np.array(resident.seconds)
            rate = spread(count / seconds, 0)
            cpu = resident.processor_seconds()
            idle = resident.idle_s / resident.idle_wall_s
            self.say(f"  {resident.name}: {rate} patches/s; {against.name} is {spread(seconds / base)} times as fast,")
            self.say(
                f"    by processor time {cpu / against.processor_seconds():.2f};"
                f" processor/wall {cpu / seconds.mean():.2f}, while others run {idle:.4f}"
            )
            about = {} if resident in brief else resident.about
            if "way" in about:
                tried = ", ".join(f"[{way}: {rate:.0f}]" for way, rate in about["tried"])
                self.say(f"    at its best: {about['way']}; of {tried}")
            if about.get("kernels"):
                kernels = ", ".join(f"{times} {name}" for name, times in sorted(about["kernels"].items()))
                self.say(f"    convolutions by kernel: {kernels}")
            if "level" in about:
                self.say(f"    engine {about['engine']}, {about['level'] or 'its own choice of instructions'}")

    def agreement(self, residents, against):
        """A benchmark is a test: the same classes, or not the same work."""
        ours = against.logits()
        for resident in residents:
            theirs = resident.logits()
            same = np.mean(ours.argmax(1) == theirs.argmax(1))
            largest = np.abs(ours - theirs).max()
            self.say(f"    {resident.name}: same class for {same:.2%} of {len(ours)} patches, logits at most {largest:.3g} apart")
            if same < 0.95:
                raise SystemExit("these are not the same network")

    def network(self, network, threads):
        """Everything about one network on so many threads."""
        prepared = self.prepare(*network)
        count = prepared[-1]
        self.say(f"## {in_words(network)}, threads: {threads}; {count} different patches")
        own = {precision: self.own(prepared, precision, threads) for precision in ("int8", "f32")}
        peers = {
            (runtime, precision, taps, limit is not None): self.peer(
                runtime, prepared, network, precision, taps, threads, limit
            )
            for precision in ("int8", "f32")
            for taps in ("all", "live")
            for runtime in ("openvino", "onnxruntime")
            for limit in (self.limits if (runtime, precision) == ("openvino", "int8") else (None,))
        }
        residents = [*own.values(), *peers.values()]
        in_turns(residents, self.turns)
        for precision in ("int8", "f32"):
            of_it = [peer for key, peer in peers.items() if key[1] == precision]
            others = [own["f32"]] if precision == "int8" else []
            if precision == "int8":
                others += [peer for key, peer in peers.items() if key[1] == "f32"]
            # Those of the other precision have their own report.
            self.report([own[precision], *of_it, *others], count, own[precision], others)
            self.say(f"  {precision} networks beside hemapatch's:")
            self.agreement(of_it, own[precision])
        for resident in residents:
            resident.close()
        self.say()
        return own, peers, count

    def ratio(self, own, peers, precision, runtime, their_precision, taps):
        """Against the faster of a peer's processes, turn by turn."""
        found = [peer for key, peer in peers.items() if key[:3] == (runtime, their_precision, taps)]
        best = min(found, key=lambda peer: np.median(peer.seconds))
        return np.array(best.seconds) / np.array(own[precision].seconds)

    def all_networks(self):
        measured = [(network, threads, *self.network(network, threads)) for network in NETWORKS for threads in (1, 2)]
        columns = [
            ("openvino", "all", "OpenVINO, plain ONNX"),
            ("openvino", "live", "OpenVINO, dead-tap-free"),
            ("onnxruntime", "all", "ONNX Runtime, plain"),
            ("onnxruntime", "live", "ONNX Runtime, dead-tap-free"),
        ]
        for precision in ("int8", "f32"):
            more = [("onnxruntime", "f32", "all", "ONNX Runtime f32, plain")] if precision == "int8" else []
            kinds = [(runtime, precision, taps, title) for runtime, taps, title in columns] + more
            head = [f"{precision}: times as fast as", "threads", "hemapatch, patches/s", *(kind[-1] for kind in kinds)]
            rows = [
                [
                    in_words(network),
                    str(threads),
                    spread(count / np.array(own[precision].seconds), 0),
                    *(spread(self.ratio(own, peers, precision, *kind[:-1])) for kind in kinds),
                ]
                for network, threads, own, peers, count in measured
            ]
            self.table(head, rows)
        for network, threads, own, peers, _ in measured:
            if threads > 1:
                continue
            if network == NETWORKS[0]:
                for runtime, theirs, taps, title, bar in (
                    ("openvino", "int8", "all", "OpenVINO int8, plain ONNX", 2.1),
                    ("openvino", "int8", "live", "OpenVINO int8, dead-tap-free ONNX", 1.35),
                    ("onnxruntime", "f32", "all", "ONNX Runtime f32, plain ONNX", 7),
                ):
                    self.bar(f"int8, against {title}", self.ratio(own, peers, "int8", runtime, theirs, taps), bar)
                ratio = self.ratio(own, peers, "f32", "onnxruntime", "f32", "all")
                self.bar("f32, against ONNX Runtime f32, plain ONNX", ratio, 1.7)
            if network[1] == 32:
                ratios = [self.ratio(own, peers, "int8", "openvino", "int8", taps) for taps in ("all", "live")]
                self.bar("32x32 int8, against OpenVINO's best", min(ratios, key=np.median), 1.3)

    def levels(self):
        """Each instruction set against ONNX Runtime in integers, one thread; and two threads against one."""
        network = NETWORKS[0]
        prepared = self.prepare(*network)
        count = prepared[-1]
        self.say("## instruction sets, and threads: 5 views of 16x16 pixels")
        levels = json.loads(program(self.engine, "levels"))
        own = [self.own(prepared, "int8", 1, level) for level in levels]
        two = self.own(prepared, "int8", 2)
        two.name += ", two threads"
        limits = [None]
        if Path(OLDER["LD_PRELOAD"]).is_file() and subprocess.run(["true"], env=os.environ | OLDER).returncode == 0:
            limits.append(OLDER)
        peers = [
            self.peer("onnxruntime", prepared, network, "int8", taps, 1, limit) for limit in limits for taps in ("all", "live")
        ]
        in_turns([*own, two, *peers], self.turns)
        self.report([*own, two, *peers], count, own[-1])
        self.say("  every instruction set beside the fastest:")
        self.agreement([*own, two, *peers], own[-1])
        self.say("  Without VNNI, ONNX Runtime adds pairs of products in 16 bits, which saturate: that is its error, not ours.")
        rows = [
            [
                resident.name.removeprefix("hemapatch, int8, "),
                spread(count / np.array(resident.seconds), 0),
                *(spread(np.array(peer.seconds) / np.array(resident.seconds)) for peer in peers),
            ]
            for resident in own
        ]
        self.table(["times as fast as, one thread", "patches/s", *(peer.name for peer in peers)], rows)
        ratio = np.array(own[-1].seconds) / np.array(two.seconds)
        self.say(f"two threads are {spread(ratio)} times as fast as one ({own[-1].name})\n")
        self.bar("two threads, against one", ratio, 1.9)
        if "avx2" in levels:
            for peer in peers:
                ratio = np.array(peer.seconds) / np.array(own[levels.index("avx2")].seconds)
                self.bar(f"int8 on AVX2, against {peer.name}", ratio, 1)
        for resident in [*own, two, *peers]:
            resident.close()

    def same_file(self):
        """The shipped file itself in ONNX Runtime, on real patches: every difference explained."""
        import onnxruntime

        sources = {self.series_name: [self.series]}
        if PICTURES.is_dir():
            patients = sorted({path.name[:4] for path in PICTURES.glob("*.png")})
            for at, patient in enumerate(patients[:: max(1, len(patients) // 6)][:6]):
                sources[f"PHE-SICH-CT-IDS, patient {at + 1} of 6"] = sorted(PICTURES.glob(f"{patient}_*.png"))
        self.say("## the shipped file in ONNX Runtime, as it is: model.int8.onnx, all different patches")
        session = onnxruntime.InferenceSession(SHIPPED / "model.int8.onnx", providers=["CPUExecutionProvider"])
        path, total, agreeing = OUT / "same.u8", 0, 0
        for name, files in sources.items():
            program(self.engine, "cut", SHIPPED, path, *files)
            patches = np.fromfile(path, np.uint8).reshape(-1, 5, 16, 16)
            parts = np.array_split(patches, len(patches) // 256 + 1)
            theirs = np.concatenate([session.run(None, {"x": part})[0] for part in parts])
            resident = Resident("hemapatch", [self.engine, "run", SHIPPED, path, "int8", 1])
            ours = resident.logits()
            resident.close()
            same = ours.argmax(1) == theirs.argmax(1)
            total, agreeing = total + len(same), agreeing + np.count_nonzero(same)
            largest = np.abs(ours - theirs).max()
            self.say(f"  {name}: same class for {np.mean(same):.3%} of {len(same)} patches, logits at most {largest:.3g} apart")
            for at in np.flatnonzero(~same):
                ours_two, theirs_two = (np.sort(logits[at])[-2:] for logits in (ours, theirs))
                self.say(
                    f"    a patch: class {ours[at].argmax()} leads by {ours_two[1] - ours_two[0]:.4f} here, "
                    f"class {theirs[at].argmax()} by {theirs_two[1] - theirs_two[0]:.4f} there; "
                    f"its logits are at most {np.abs(ours[at] - theirs[at]).max():.4f} apart"
                )
        path.unlink()
        self.say(f"  all: {agreeing / total:.4%} of {total} patches")
        self.bar("same class as ONNX Runtime on the same file, %", [100 * agreeing / total], 99.9)
        self.say(
            "  hemapatch gives the document's integers to the last bit; ONNX Runtime adds a block's halves in f32 and rounds"
            " nearly-ties to the other side now and then. A class differs where its lead is smaller than what that moves.\n"
        )

    def equal_patches(self):
        self.say(f"## equal patches once: {self.series_name}, one thread")
        resident = Resident("equal", [self.engine, "equal", SHIPPED, self.series])
        once, each, ratios = [], [], []
        for _ in range(self.turns):
            seconds = resident.ask("run 1")
            once.append(seconds["cut"] + seconds["once"])
            # Whoever runs them all has to cut them too; cutting has the search for equal ones in it, which favours nobody's side.
            each.append(seconds["cut"] + seconds["each"])
            ratios.append(seconds["each"] / seconds["once"])
        about = resident.about
        resident.close()
        slices = about["slices"]
        self.say(f"  {about['places']} places, {about['patches']} different patches a slice at a time")
        self.say(f"  network alone: {spread(ratios)} times as fast; with cutting and the search for equal ones:")
        self.say(
            f"  {spread(np.array(once) / slices * 1e3)} ms a slice against {spread(np.array(each) / slices * 1e3)},"
            f" {spread(np.array(each) / np.array(once))} times as fast\n"
        )
        self.bar("equal patches once, network alone", ratios, 2)

    def whole_process(self):
        """From nothing in memory to a verdict on the terminal."""
        self.say(f"## whole process, cold, files in the page cache: {self.series_name}")
        script = [PYTHON, HERE / "pipeline.py", self.series, SHIPPED]
        triage = [self.hemapatch, "triage", self.series, "--json", "--model", SHIPPED]
        commands = {
            "hemapatch triage, int8": triage,
            "hemapatch triage, f32": [*triage, "--precision", "f32"],
            "script, ONNX Runtime int8": [*script, SHIPPED / "model.int8.onnx"],
            "script, ONNX Runtime f32": [*script, SHIPPED / "model.onnx"],
            "script that runs equal patches once, int8": [*script, SHIPPED / "model.int8.onnx", "--once"],
            "script that runs equal patches once, f32": [*script, SHIPPED / "model.onnx", "--once"],
        }
        measured = {name: [] for name in commands}
        verdicts = {}
        launcher = subprocess.Popen([PYTHON, HERE / "timed.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(min(self.turns, 7)):
            for name, command in commands.items():
                print(json.dumps([str(one) for one in command]), file=launcher.stdin, flush=True)
                took = json.loads(launcher.stdout.readline())
                if took["exit"]:
                    raise SystemExit(f"{name} failed")
                measured[name].append((took["wall"], took["processor"], took["peak_mb"]))
                verdicts[name] = json.loads(took["said"])
        launcher.stdin.close()
        launcher.wait()
        ours = np.array(measured["hemapatch triage, int8"])
        rows = []
        for name, values in measured.items():
            values = np.array(values)
            reference = verdicts[f"hemapatch triage, {name[-4:].lstrip()}"]
            differ = [
                (at, sum(abs(a["counts"][label] - b["counts"][label]) for label in a["counts"]) // 2)
                for at, (a, b) in enumerate(zip(reference["slices"], verdicts[name]["slices"], strict=True))
                if a["counts"] != b["counts"]
            ]
            moved = sum(patches for _, patches in differ)
            self.say(
                f"  {name}: {verdicts[name]['outcome']}, probability {verdicts[name]['probability']:.6f}; counts differ in"
                f" {len(differ)} of {len(reference['slices'])} slices ({moved} patches) from hemapatch's of the same precision"
            )
            if verdicts[name]["outcome"] != reference["outcome"] or moved > 20:
                raise SystemExit("not the same work")
            rows.append(
                [
                    name,
                    f"{spread(values[:, 0])} s",
                    f"{np.median(values[:, 1]):.2f} s",
                    f"{values[:, 2].max():.0f} MB",
                    spread(values[:, 0] / ours[:, 0], 1),
                ]
            )
        self.table(["cold process to verdict", "wall", "processor", "peak memory", "times hemapatch's wall"], rows)
        self.bar("whole process, seconds", ours[:, 0], 0.5, at_least=False)
        for name, values in measured.items():
            if name.startswith("script"):
                self.bar(f"whole process, against the {name}", np.array(values)[:, 0] / ours[:, 0], 20)
        self.bar("whole process, peak MB", ours[:, 2], 64, at_least=False)

    def machine(self):
        told = program("rustc", "-vV")
        target = next(line.split()[1] for line in told.splitlines() if line.startswith("host"))
        wanted = ("Architecture", "CPU(s)", "Model name", "L1d", "L2", "L3")
        processor = [line for line in program("lscpu").splitlines() if line.startswith(wanted)]
        known = program("lscpu").split()
        flags = [flag for flag in ("avx2", "avx_vnni", "avx512_vnni", "amx_int8", "amx_bf16") if flag in known]
        commit = program("git", "rev-parse", "--short", "HEAD").strip()
        changed = program("git", "status", "--porcelain", "--untracked-files=no").strip()
        versions = [line for line in (HERE / "requirements.txt").read_text().splitlines() if "==" in line]
        return target, [
            "# hemapatch beside ONNX Runtime and OpenVINO: make bench-peers",
            "",
            f"commit {commit}{', with changes' if changed else ''}",
            "",
            told.strip(),
            f"Python {platform.python_version()}, {', '.join(versions)}",
            "",
            *processor,
            f"Flags: {', '.join(flags)}.",
            f"Load: {', '.join(f'{load:.2f}' for load in os.getloadavg())} at the end. A machine that others use too.",
            "",
            f"Patches of {self.series_name}. Medians of {self.turns} turns (10th to 90th percentile); ratios within a turn.",
            "hemapatch's and the peers' networks are the same weights; plain ONNX: 3x3 kernels throughout, dead taps 0.",
            "",
        ]

    def record(self):
        target, head = self.machine()
        path = ROOT / "benches" / "record" / target / f"{datetime.date.today()}-peers.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(head + self.lines) + "\n")
        print(f"written: {path.relative_to(ROOT)}\n")
        print("\n\n".join(self.tables))


PARTS = ("all_networks", "levels", "same_file", "equal_patches", "whole_process")
PYTHON = HERE / ".venv" / "bin" / "python"


def main():
    parser = argparse.ArgumentParser(description="hemapatch beside ONNX Runtime and OpenVINO")
    parser.add_argument("--quick", action="store_true", help="fewer turns, to see whether it works")
    parser.add_argument("--series", type=Path, help="a folder of one head CT series instead of a phantom")
    parser.add_argument("--only", action="append", choices=PARTS, help="these parts alone, and no record")
    arguments = parser.parse_args()
    # Libraries would walk the stack for every error that they look at and pass over.
    os.environ.pop("RUST_BACKTRACE", None)
    bench = Bench(arguments)
    for part in arguments.only or PARTS:
        getattr(bench, part)()
    bench.table(["bar, one thread but where it says", "wanted", "measured", "holds"], bench.bars)
    if not arguments.only:
        bench.record()


main()
