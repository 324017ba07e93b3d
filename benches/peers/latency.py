"""How soon hemapatch serve tells: early alert and verdict, after the last slice of a study that DCMTK's storescu sends.

    python3 benches/peers/latency.py [--studies N] [--pace SECONDS] [--settled SECONDS] [--program FILE] [--record FILE]

Studies of 28 slices of 512x512 (0.5 MiB) with a drawn hematoma are sent one after the other, each over one association as fast as it
goes; with --pace slice by slice, each over an association of its own, as scanners do that send while they reconstruct. The clock
starts when the last slice is acknowledged, and stops when the line of the alert stands in the log. The verdict waits settled_s (1 unless said
otherwise) for slices that may follow; that is part of the figure.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

from storage import SLICES, Hemapatch, free_port, wait_for


def notices(log):
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def send(port, paths):
    subprocess.run(["storescu", "-aec", "HEMAPATCH", "127.0.0.1", str(port), *paths], check=True, stdout=subprocess.DEVNULL)


def study(port, paths, pace, log):
    """Sends a study; when early alert and verdict stood in the log, in seconds since the last slice, and behind which slice the former."""
    before, early_behind = len(notices(log)), None

    def found(occasion):
        return any(notice["occasion"] == occasion for notice in notices(log)[before:])

    if pace:
        for number, path in enumerate(paths, 1):
            since = time.monotonic()
            send(port, [path])
            if number < len(paths):
                time.sleep(max(0.0, pace - (time.monotonic() - since)))
            if early_behind is None and found("early"):
                early_behind = number
    else:
        send(port, paths)
    last, times = time.monotonic(), {}
    while "alert" not in times:
        for occasion in ("early", "alert"):
            if occasion not in times and found(occasion):
                times[occasion] = time.monotonic() - last
        assert time.monotonic() - last < 60, "no alert within a minute"
        time.sleep(0.005)
    return times.get("early"), times["alert"], early_behind


def spread(values):
    return f"{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--studies", type=int, default=10)
    arguments.add_argument("--pace", type=float, default=0.0, help="seconds between two slices")
    arguments.add_argument("--settled", type=float, default=1.0)
    arguments.add_argument("--program", default="target/release/hemapatch")
    arguments.add_argument("--record", help="a file for the lines, which are printed anyway")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=".", prefix="bench-latency-") as folder:
        folder, port = pathlib.Path(folder).resolve(), free_port()
        command = Hemapatch(os.path.abspath(options.program), None).command(folder, port)
        config = folder / "hemapatch.toml"
        # All occasions; the study's table stands behind those that are there.
        text = config.read_text().replace("on = ['alert'", "on = ['early', 'alert'")
        config.write_text(text + f"[study]\nsettled_s = {options.settled}\n")
        service = subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL)
        try:
            wait_for(port, service)
            results = []
            for number in range(options.studies):
                drawn = folder / f"study-{number}"
                words = ["phantom", "-o", drawn, "--seed", str(number + 1), "--site", "putamen", "--volume-ml", "30"]
                subprocess.run([options.program, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                paths = sorted(str(path) for path in drawn.iterdir())
                assert len(paths) == SLICES
                results.append(study(port, paths, options.pace, folder / "alerts.jsonl"))
        finally:
            service.kill()
            service.wait()
    how = f"a slice each {options.pace} s, each over its own association" if options.pace else "over one association"
    early, verdict, behind = zip(*results)
    lines = [f"# {options.studies} studies of {SLICES} slices of 0.5 MiB, {how}; settled_s = {options.settled}; {os.cpu_count()} cores",
             f"verdict after the last slice      {spread(verdict)}"]
    if options.pace:
        assert all(behind), "an early alert did not come before the last slice"
        lines.append(f"early alert seen behind slice     {statistics.median(behind):.0f} of {SLICES} ({min(behind)} to {max(behind)})")
    else:
        lines.append(f"early alert after the last slice  {spread(early)}")
    print("\n".join(lines))
    if options.record:
        pathlib.Path(options.record).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
