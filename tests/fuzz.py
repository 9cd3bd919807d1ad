"""Coverage-guided fuzzing of what anybody may hand to fasim, with atheris.

``python tests/fuzz.py topology 120`` fuzzes topology strings for 120 seconds; ``toml`` takes a text to every reader of TOML
(configuration, sweep, datapath, processor, experiment), ``idx`` a file to the reader of MNIST's format. What ends in
anything but a result or a FasimError of one line is a finding: it is printed, its input is kept in the folder at hand, and
the exit code is not 0. Where `tests/property/test_hostile_*.py` draw what resembles valid input, this follows the branches
that an input takes.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

# readers alone: what Numba compiles must stay as it is written
READERS = (
    *("tomllib", "fasim.network", "fasim.tomlfiles", "fasim.config", "fasim.sweep.grid", "fasim.sweep.keys"),
    *("fasim.fixedpoint.toml", "fasim.fixedpoint.document", "fasim.fixedpoint.options", "fasim.fixedpoint.format"),
    *("fasim.energy.load", "fasim.energy.constant", "fasim.experiments.document", "fasim.experiments.keys"),
    "fasim.data.idx",
)
with atheris.instrument_imports(include=list(READERS)):
    import fasim
    from fasim import config
    from fasim.data import idx
    from fasim.energy import load_processor
    from fasim.errors import FasimError
    from fasim.experiments.document import read_experiment
    from fasim.fixedpoint import load_datapath
    from fasim.network import Network
    from fasim.sweep import read_sweep

PACKAGE = Path(fasim.__file__).parent
# an input that takes longer is a finding, and so is one that takes more memory
SECONDS, MEGABYTES, LONGEST = 10, 4096, 4096


def topology(content: bytes, _: Path) -> None:
    """Parse a topology."""
    Network.parse(content.decode("utf-8", "surrogateescape"))


def toml(content: bytes, folder: Path) -> None:
    """Give a file to every reader of TOML."""
    path = folder / "given.toml"
    path.write_bytes(content)
    for read in (config.read, read_sweep, read_experiment):
        in_one_line(read, path)
    for load in (load_datapath, load_processor):
        in_one_line(load, str(path))


def image_file(content: bytes, folder: Path) -> None:
    """Read an IDX file."""
    path = folder / "given"
    path.write_bytes(content)
    idx.read(path)


IDX = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(6)
TARGETS: dict[str, tuple[Callable[[bytes, Path], None], list[bytes]]] = {
    "topology": (topology, [b"784-500-10", b"28x28x1-32c5-2p-1000-10", b"8x8x1-8c3s2p1-2a-10"]),
    "toml": (
        toml,
        [
            (PACKAGE / "fixedpoint/datapaths/s8.toml").read_bytes(),
            (PACKAGE / "energy/processors/mcu_pulp.toml").read_bytes(),
            b'command = "train"\nrule = "dfa"\nepochs = 3\n[files]\n"x.npz" = ""\n',
            b'[settings]\nepochs = 1\n[[cases]]\nlr = "2^-6"\n[grid]\nrule = ["bp"]\nseed = [0, 1]\n',
            b'[sample]\npoints = 3\n[sample.ranges.lr]\nlow = 1e-4\nhigh = 1e-1\nscale = "log"\n',
        ],
    ),
    "idx": (image_file, [IDX, gzip.compress(IDX, mtime=0)]),
}


def in_one_line(function: Callable[..., object], *arguments: object) -> None:
    """Call a function, which may refuse in one line."""
    try:
        function(*arguments)
    except FasimError as error:
        assert str(error).strip(), "an empty message"
        assert "\n" not in str(error), f"more than one line: {error}"


def main() -> None:
    """Fuzz a target for so many seconds."""
    if len(sys.argv) != 3 or sys.argv[1] not in TARGETS or not sys.argv[2].isdecimal():
        sys.exit(f"usage: python tests/fuzz.py {'|'.join(TARGETS)} SECONDS")
    target, seeds = TARGETS[sys.argv[1]]
    with tempfile.TemporaryDirectory() as name:
        corpus, folder = Path(name, "corpus"), Path(name, "given")
        corpus.mkdir()
        folder.mkdir()
        for number, seed in enumerate(seeds):
            (corpus / str(number)).write_bytes(seed)
        limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}"]
        words = [sys.argv[0], *limits, f"-max_total_time={sys.argv[2]}", "-print_final_stats=1", str(corpus)]
        atheris.Setup(words, lambda content: in_one_line(target, content, folder))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
