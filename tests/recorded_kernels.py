"""Which kernels some work calls with which types of arguments, without compiling any: run as a program.

Each line of standard input is one command line of fasim; printed is what those call and the cases of `fasim.warm` do not,
as JSON. The kernels do nothing here: their places, and that of the table of calls, are taken before a backend takes hold
of them.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections import defaultdict

from numba import typeof

from fasim import kernels
from fasim.backends.table import make

CALLED = defaultdict(set)


def recorder(name):
    def record(*arguments):
        CALLED[name].add(tuple(str(typeof(argument)) for argument in arguments))

    return record


class RecordingTable:
    """Takes the calls of a step and makes each once, of kernels that only note it."""

    def __init__(self, *parts):
        for call in (call for calls in parts for call in calls):
            make(call)

    def walk(self, order, offset, size, first_step, batch, step, position, calls):
        position[0] = len(order) // size
        return 0


def main():
    for name in kernels.__all__:
        setattr(kernels, name, recorder(name))
    from click.testing import CliRunner

    from fasim.backends import cpu

    cpu.Table = RecordingTable
    from fasim import warm
    from fasim.cli import command

    for case in warm.cases(sys.argv[1:]):
        warm.run(case)
    ready = {name: set(types) for name, types in CALLED.items()}
    CALLED.clear()
    for line in sys.stdin.read().splitlines():
        result = CliRunner().invoke(command, shlex.split(line))
        assert result.exit_code == 0, (line, result.output, result.exception)
    missing = {name: sorted(types - ready.get(name, set())) for name, types in CALLED.items()}
    print(json.dumps({"called": len(CALLED), "missing": {name: types for name, types in missing.items() if types}}))


if __name__ == "__main__":
    main()
