#!/usr/bin/env python3
"""Scores predictions of LongBench, LongBench-E and InfiniteBench with the packages that their own programs call.

    Tools/setup --score
    .build/python/bin/python Tools/score/score.py longbench predictions/pred/*/*.jsonl
    .build/python/bin/python Tools/score/score.py infinitebench predictions/results/*/*.jsonl --json

Takes what `sharedpack eval longbench` and `eval infinitebench` write with --predictions, and what the published
programs write, of any model. Files are named after their task, unless --task is given, and are in a directory named
after the model. Scores are percents. Intervals are 95 %: Wilson's where every answer is right or wrong, else percentile
bootstraps over samples. `sharedpack eval report` shows what --json prints.

Exit statuses: 0 done, 64 usage, 65 bad input, 66 missing input.
"""
import argparse
import collections
import json
import math
import pathlib
import sys
import time

import infinitebench
import longbench
import numpy

SUITES = {"longbench": longbench, "infinitebench": infinitebench}
Z = 1.959963984540054


def wilson(right, count):
    """The 95 % interval of a proportion. Source: E. Wilson, J. Am. Stat. Assoc. 22, 1927."""
    centre = (right + Z * Z / 2) / (count + Z * Z)
    reach = Z / (count + Z * Z) * math.sqrt(right * (count - right) / count + Z * Z / 4)
    return (0.0 if right == 0 else centre - reach, 1.0 if right == count else centre + reach)


def bootstrap(values, resamples=4000):
    """The 95 % percentile interval of a mean."""
    picks = numpy.random.default_rng(1).integers(len(values), size=(resamples, len(values)))
    return tuple(numpy.quantile(numpy.asarray(values)[picks].mean(axis=1), [0.025, 0.975]).tolist())


def measure(values, yes_or_no):
    """A mean in percent, in the form that results of `sharedpack eval` have."""
    found = dict(value=100 * sum(values) / len(values), count=len(values))
    if yes_or_no or len(values) > 1:
        low, high = wilson(sum(values), len(values)) if yes_or_no else bootstrap(values)
        found |= dict(low=100 * low, high=100 * high)
    return found


class Fault(Exception):
    """What is wrong with the input, and the exit status that says so."""

    def __init__(self, message, status=65):
        super().__init__(message)
        self.status = status


def lines(path):
    try:
        with open(path, encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield number, json.loads(text)
    except OSError as error:
        raise Fault(f"{path}: {error.strerror}", 66) from error
    except ValueError as error:
        raise Fault(f"{path}: is not lines of JSON: {error}") from error


def result(name, paths, task=None):
    """The scores of files, as a result of `sharedpack eval`: by task and source, by class of lengths, and by group."""
    suite, start = SUITES[name], time.monotonic()
    rows, notes = {}, collections.Counter()
    for path in map(pathlib.Path, paths):
        known = suite.task_name(task or path.stem)
        if known not in suite.TASKS:
            raise Fault(f"{path}: {known} is no task of {name}, which has {', '.join(suite.TASKS)}")
        for number, line in lines(path):
            try:
                score = suite.score(known, line, notes)
                length = suite.length_class(line)
            except KeyError as error:
                raise Fault(f"{path}: line {number}, {error.args[0]}: is missing") from error
            except ValueError as error:
                raise Fault(f"{path}: line {number}, {error}") from error
            except (AttributeError, TypeError) as error:
                raise Fault(f"{path}: line {number}: has a field of another type: {error}") from error
            for counted in dict.fromkeys([None, length]):
                rows.setdefault((known, counted, path.absolute().parent.name), []).append(score)
    averages = {}
    for (known, length, source), values in rows.items():
        if length is None and suite.group(known):
            averages.setdefault((f"average, {suite.group(known)}", source), []).append(sum(values) / len(values))
    found = [dict(labels=dict(task=known, source=source) | (dict(length=length) if length else {}),
                  measures=dict(score=measure(values, known in suite.YES_OR_NO)))
             for (known, length, source), values in rows.items()]
    found += [dict(labels=dict(task=group, source=source),
                   measures=dict(score=dict(value=100 * sum(values) / len(values), count=len(values))))
              for (group, source), values in averages.items()]
    columns = [column for column in ("task", "length", "source") if any(column in row["labels"] for row in found)]
    return dict(
        protocol=name, settings={}, columns=columns + ["score"], rows=found, seconds=time.monotonic() - start,
        notes=["scores are percents, by the rules and packages of the published program"]
        + [f"{count} {note}" for note, count in notes.items()])


def table(found):
    """A line of column names, then a line a row, columns aligned."""
    def cell(row, column):
        if column != "score":
            return row["labels"].get(column, "")
        score = row["measures"]["score"]
        interval = f" [{score['low']:.2f}, {score['high']:.2f}]" if "low" in score else ""
        return f"{score['value']:.2f}{interval}"

    cells = [found["columns"]] + [[cell(row, column) for column in found["columns"]] for row in found["rows"]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join(text + [f"- {note}" for note in found["notes"]])


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(64, f"score: {message}\n")


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("files", nargs="+", help="predictions, a line of JSON each")
    parser.add_argument("--task", help="the task of all files")
    parser.add_argument("--json", action="store_true", help="print a result as sharedpack eval writes it")
    options = parser.parse_args()
    try:
        found = result(options.suite, options.files, options.task)
    except Fault as fault:
        print(f"score: {fault}", file=sys.stderr)
        return fault.status
    print(json.dumps(found, ensure_ascii=False) if options.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
