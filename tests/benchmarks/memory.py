"""A process that makes many observed calls, and says how much memory it has afterwards that it had not before.

    python tests/benchmarks/memory.py 1000000

Of fifty calls one fails and one is a stream; the page is scraped every thousand.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import answers
from ours import OURS, ours
from tools import Tool

_SCRAPE = 1000
_CHUNKS = answers.chunks(5)


def _calls(tool: Tool, number: int) -> None:
    for each in range(number):
        if each % 50 == 0:
            _fail(tool)
        elif each % 50 == 25:
            for _ in tool.functions.stream(_CHUNKS):
                pass
        else:
            tool.functions.sync()
        if each % _SCRAPE == _SCRAPE - 1:
            tool.collect()


def _fail(tool: Tool) -> None:
    try:
        tool.functions.failing()
    except Exception:
        return


def _resident() -> int:
    """Bytes of memory that the process has."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _held() -> tuple[int, int]:
    gc.collect()
    return _resident(), sys.getallocatedblocks()


def main(calls: int) -> int:
    """Prints megabytes, and blocks of Python's allocator."""
    (tool,) = [each for each in ours() if each.name == OURS]
    tool.install()
    _calls(tool, calls // 10)
    resident, blocks = _held()
    middle: tuple[int, int] | None = None
    for half in range(2):
        _calls(tool, calls // 2)
        middle = middle if half else _held()
    end = _held()
    found: dict[str, Any] = {
        "grown, MB": (end[0] - resident) / 1e6,
        "in the second half, MB": (end[0] - (middle or end)[0]) / 1e6,
        "grown, blocks": end[1] - blocks,
        "resident, MB": end[0] / 1e6,
    }
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
