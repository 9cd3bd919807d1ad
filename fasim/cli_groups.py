"""What commands have in common: options in groups, and one line instead of a traceback."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from fasim.errors import FasimError

INTERRUPTED = 130
STOPPED = "fasim.stopped"
NOTHING_FINISHED = "stopped before anything had finished"
OTHERS = "Options"

Decorator = Callable[[Any], Any]


class Option(click.Option):
    """An option that ``--help`` shows under the title of its group."""

    def __init__(self, *names: Any, group: str = OTHERS, **attributes: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*names, **attributes)
        self.group = group


def _configure(context: click.Context, parameter: click.Parameter, given: Any) -> None:  # noqa: ANN401
    """Read the configuration once both of its options are known; they come before all others."""
    found: dict[str, Any] = context.meta.setdefault("fasim.configuration", {})
    found[str(parameter.name)] = given
    if len(found) < len(CONFIGURATION):
        return
    del context.meta["fasim.configuration"]
    if any(found.values()) and not context.resilient_parsing:
        from fasim.cli_config import configure

        configure(context, found["config"], found["set_"])


CONFIGURATION = (
    Option(
        ["--config"],
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_configure,
        group="Configuration",
        help="Take options from this TOML file, such as config.toml of a run; what the command line says comes first.",
    ),
    Option(
        ["--set", "set_"],
        metavar="KEY=VALUE",
        multiple=True,
        is_eager=True,
        expose_value=False,
        callback=_configure,
        group="Configuration",
        help="Set one option, before the file and after the command line; may be given many times.",
    ),
)


class Command(click.Command):
    """A command with ``--config`` and ``--set``, whose help has a section for each group of options.

    The sections come in the order of their first option.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401 - click's own
        more["params"] = [*(more.get("params") or ()), *CONFIGURATION]
        super().__init__(*arguments, **more)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "group", OTHERS), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


class LazyCommand(click.Command):
    """A command that is known by its name and help alone; the module with its options is imported when it is asked for.

    Parameters
    ----------
    name : str
    place : str
        ``module:attribute`` of the command itself.
    text : str
        The help that the list of commands shows, the same as the command's own.
    """

    def __init__(self, name: str, place: str, text: str) -> None:
        super().__init__(name, help=text)
        self.place = place

    def load(self) -> click.Command:
        """Import the command itself."""
        module, _, attribute = self.place.partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:  # noqa: ANN401 - click's own
        """Let the command itself read its arguments: click then runs the command of the context, not this one."""
        return self.load().make_context(*arguments, **more)


class Group(click.Group):
    """Turns an error that the user can mend into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run the command that is asked for."""
        try:
            return super().invoke(ctx)
        except FasimError as error:
            self._refuse(ctx, str(error))
        except click.UsageError as error:
            place = error.ctx.command_path if error.ctx else "fasim"
            self._refuse(ctx, f"{error.format_message()} See {place} --help")
        except OSError as error:
            self._refuse(ctx, f"cannot write the output: {error.strerror}")
        except MemoryError as error:
            self._refuse(ctx, f"not enough memory ({error}); use a smaller network or batch")
        except KeyboardInterrupt:
            line = "stopped again; every file that is there is whole" if STOPPED in ctx.meta else NOTHING_FINISHED
            click.echo(f"fasim: {line}", err=True)
            ctx.exit(INTERRUPTED)

    @staticmethod
    def _refuse(ctx: click.Context, line: str) -> None:
        click.secho(f"fasim: {line}", fg="red", err=True)
        ctx.exit(2)


def say_stopped(kept: str) -> None:
    """Say after Ctrl-C what is kept; a second Ctrl-C, while that is written, is then known for one."""
    click.get_current_context().meta[STOPPED] = True
    click.echo(f"fasim: stopped; {kept}", err=True)


def option(group: str, *names: str, **attributes: Any) -> Decorator:  # noqa: ANN401 - click's own
    """Return the decorator of an option in a group."""
    return click.option(*names, cls=Option, group=group, **attributes)


def options(*decorators: Decorator) -> Decorator:
    """Apply several option decorators, so that they appear in this order."""

    def apply(function: Any) -> Any:  # noqa: ANN401
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply
