"""Print every figure beside its bar: `make bench`.

`python -m tests.benchmarks memory [GB]` is about memory, `... shape` about the training speed of the paper's
6.7-billion-parameter layout on this machine; both stay out of `make bench`.
"""

import os
import sys
from collections.abc import Iterator

from tests.benchmarks.figure import TITLE, Figure


def main(arguments: list[str]) -> None:
    """Run the benchmarks named, or all that are quick; nothing here ever fails for being slow."""
    print(f"load of the machine before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")
    print(TITLE)
    for figure in _figures(arguments):
        print(figure, flush=True)
    print(f"load of the machine after: {os.getloadavg()[0]:.2f}")


def _figures(arguments: list[str]) -> Iterator[Figure]:
    if arguments[:1] == ["memory"]:
        from tests.benchmarks import memory

        yield from memory.figures(*map(float, arguments[1:]))
        return
    if arguments[:1] == ["shape"]:
        from tests.benchmarks import shape

        yield from shape.figures(arguments[1:])
        return
    from tests.benchmarks import (
        cores,
        gateway,
        mining,
        privacy,
        refinery,
        serving,
        simulation,
        store,
        training,
        verdicts,
        writer,
    )

    every = {
        "mining": mining.figures,
        "store": store.figures,
        "cores": cores.figures,
        "simulation": simulation.figures,
        "refinery": refinery.figures,
        "verdicts": verdicts.figures,
        "training": training.figures,
        "writer": writer.figures,
        "privacy": privacy.figures,
        "gateway": gateway.figures,
        "serving": serving.figures,
    }
    for name in arguments or every:
        yield from every[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
