"""Reads a page of metrics with Prometheus' own parser: metrics.py < PAGE

Prints each sample as a line of JSON, [name, labels, value], or ends with what is wrong with the page.
"""

import json
import math
import sys

from prometheus_client.parser import text_string_to_metric_families


def check(family):
    name = family.name
    if family.type not in ("counter", "gauge", "histogram"):
        sys.exit(f"{name} has no type: {family.type}")
    if not family.documentation.strip():
        sys.exit(f"{name} has no help")
    seen = set()
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        if key in seen:
            sys.exit(f"{key} stands there twice")
        seen.add(key)
        if not math.isfinite(sample.value):
            sys.exit(f"{key} is {sample.value}")
    if family.type == "histogram":
        buckets = [(float(s.labels["le"]), s.value) for s in family.samples if s.name == f"{name}_bucket"]
        count = [s.value for s in family.samples if s.name == f"{name}_count"]
        if buckets != sorted(buckets) or [value for _, value in buckets] != sorted(value for _, value in buckets):
            sys.exit(f"the buckets of {name} are not cumulative: {buckets}")
        if not buckets or buckets[-1] != (math.inf, *count):
            sys.exit(f"the last bucket of {name} is not its count: {buckets}, {count}")
        if not any(s.name == f"{name}_sum" for s in family.samples):
            sys.exit(f"{name} has no sum")


def main():
    page = sys.stdin.read()
    # The parser itself would add what is missing.
    for line in page.splitlines():
        match line.split(" "):
            case ["#", "TYPE", name, "counter"] if not name.endswith("_total"):
                sys.exit(f"{name} is a counter without _total")
    families = list(text_string_to_metric_families(page))
    names = [family.name for family in families]
    if len(names) != len(set(names)):
        sys.exit(f"a family stands there twice: {names}")
    for family in families:
        check(family)
        for sample in family.samples:
            print(json.dumps([sample.name, sample.labels, float(sample.value)]))


main()
