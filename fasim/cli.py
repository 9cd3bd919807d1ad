"""The command line. No logic here: each command reads its options, calls the library, prints.

Exit codes are stated in docs/reference/exit-codes.md. A command is imported once it is asked for, the library inside it:
``fasim --help`` waits for neither, ``fasim train --help`` not for Numba.
"""

from __future__ import annotations

import click

from fasim import __version__
from fasim.cli_groups import Group, LazyCommand

# name: where it is, and its own help
COMMANDS = {
    "calibrate": (
        "fasim.cli_calibrate:calibrate",
        "Train in float32 for a moment, and propose a datapath's binary points from what was seen.",
    ),
    "compare": (
        "fasim.cli_compare:compare",
        "Train every rule on every datapath and set accuracy beside energy.",
    ),
    "doctor": (
        "fasim.cli_doctor:doctor",
        "Print versions, CPU, backends and the data folder, and test that the kernels give the right bits here.",
    ),
    "energy": (
        "fasim.cli_energy:energy",
        "Count one training step and estimate its energy per sample, its memory and its time.",
    ),
    "export": (
        "fasim.cli_export:export",
        "Write a run for hardware or other programs: RUN is a folder with a checkpoint, else a fresh run is set up.",
    ),
    "feedback": (
        "fasim.cli_lists:feedback",
        "Print the words of a feedback family, for --feedback, and where each comes from.",
    ),
    "format": (
        "fasim.cli_format:command",
        "Explain a number format such as s8.6, u8.8, sym8.7 or ap_fixed<8,2>: range, names, roundings, overflows.",
    ),
    "rules": (
        "fasim.cli_lists:rules",
        "Print all learning rules, their sources and what they can train.",
    ),
    "run": (
        "fasim.cli_run:run",
        "Run an experiment of the papers, or a TOML file like theirs, or repeat the run of a saved configuration.",
    ),
    "show": (
        "fasim.cli_show:show",
        "Print the schedule of one training step: every op, what it waits for, what must be kept.",
    ),
    "sweep": (
        "fasim.cli_sweep:sweep",
        "Run every point of a grid or random sample on many workers, and go on where it was stopped.",
    ),
    "train": (
        "fasim.cli_train:train",
        "Train one network and draw its learning curves.",
    ),
    "tune": (
        "fasim.cli_tune:tune",
        "Search learning rate and feedback scale for every rule and datapath, with the same number of trials for each.",
    ),
}


def main() -> None:
    """Entry point of the console script."""
    command()


@click.group(
    cls=Group,
    name="fasim",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, prog_name="fasim")
def command() -> None:
    """Compare learning rules for chips that learn: accuracy, energy and memory, in float and fixed point."""


for _name, (_place, _help) in COMMANDS.items():
    command.add_command(LazyCommand(_name, _place, _help))
