"""Starts commands and says what each took: a JSON list on each line of standard input, a JSON object for each.

A process of its own, and a small one: a new process counts as its peak memory what the one that started it had.
"""

import json
import os
import subprocess
import sys
import time

for line in sys.stdin:
    started = time.perf_counter()
    process = subprocess.Popen(json.loads(line), stdout=subprocess.PIPE)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    measured = {"wall": wall, "processor": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}
    print(json.dumps(measured | {"exit": process.returncode, "said": said.decode()}), flush=True)
