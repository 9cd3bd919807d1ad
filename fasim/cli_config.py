"""``--config`` and ``--set`` of every command, the configuration that a run saves, and ``fasim run`` on such a file.

The command line comes first, then ``--set``, then the file, then the defaults.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fasim import __version__, config
from fasim.errors import ConfigError

if TYPE_CHECKING:
    from fasim.network import Network
    from fasim.schedule import StepSettings

# options whose text is a list with commas
LISTS = ("rules", "datapaths", "seeds")
# where to write and how to print is no part of what a run is; a resumed run is repeated from its first step
NOT_SAVED = ("out", "as_json", "resume")
# options whose texts may be paths
PATHS = ("data", "datapath", "datapaths", "processor", "rule", "rules")
# of these, options that run a Python file of theirs
RULES = ("rule", "rules", "vs")
CODE = ".py"
_NAMED = "fasim.code"
# what may be said beside a configuration that is run again: no bit of a result depends on it
BESIDE = ("name", "threads", "as_json")


def key_of(parameter: click.Parameter) -> str:
    """Return the key of a parameter in a configuration: ``batch_size``, or the name in --help of what has no dashes."""
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len).lstrip("-").replace("-", "_")
    return (parameter.metavar or str(parameter.name)).strip("[]").lower()


def parameters(command: click.Command) -> dict[str, click.Parameter]:
    """Return the parameters of a command by key, without those that are about configurations."""
    return {key_of(parameter): parameter for parameter in command.params if parameter.expose_value}


def configure(context: click.Context, file: str | None, settings: tuple[str, ...]) -> None:
    """Make a file's settings, and above them those of ``--set``, the defaults of a command.

    Raises
    ------
    ConfigError
        If the file cannot be read or is for another command, a key is unknown, or a value of another kind.
    """
    known = parameters(context.command)
    values: dict[str, Any] = {}
    if file is not None:
        name = str(context.command.name)
        found = config.read(Path(file))
        if found.command not in ("", name):
            raise ConfigError(
                f"configuration {file}: it is for `fasim {found.command}`; give it there, or another one to `fasim {name}`"
            )
        if found.version not in ("", __version__):
            click.echo(f"fasim: {file} was made by fasim {found.version}, this is {__version__}: bits may differ", err=True)
        config.check_keys(f"configuration {file}", found.settings, known)
        for key, value in found.settings.items():
            values[str(known[key].name)] = _of_file(known[key], value, f"configuration {file}: {key} = {value!r}")
        context.meta[_NAMED] = {str(known[key].name): file for key in RULES if key in found.settings}
    for text in settings:
        key, equals, value = text.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise ConfigError(f"--set {text!r}: write a key and its value, such as epochs=5")
        config.check_keys(f"--set {text}", [key], known)
        values[str(known[key].name)] = _of_text(known[key], value.strip(), f"--set {text}")
        context.meta.get(_NAMED, {}).pop(known[key].name, None)
    context.default_map = {**(context.default_map or {}), **values}


def check_typed(rule: str) -> None:
    """Refuse a Python file that a configuration alone names: only what is typed may run.

    Raises
    ------
    ConfigError
        In one line.
    """
    context = click.get_current_context()
    for name, file in context.meta.get(_NAMED, {}).items():
        if rule.endswith(CODE) and context.get_parameter_source(name) is ParameterSource.DEFAULT_MAP:
            flag = max(next(one.opts for one in context.command.params if one.name == name), key=len)
            raise ConfigError(
                f"configuration {file}: it names the Python file {rule}, which would run; if you trust it, say so: "
                f"`fasim {context.command.name} --config {file} {flag} {context.params[name]}`"
            )


def _of_file(parameter: click.Parameter, value: Any, where: str) -> Any:  # noqa: ANN401
    """Return a value of a TOML file as the command line would have it."""
    kind = parameter.type
    if isinstance(kind, click.types.BoolParamType):
        right, needed = type(value) is bool, "true or false"
    elif isinstance(kind, click.types.IntParamType):
        right, needed = type(value) is int, "a whole number"
    elif isinstance(kind, click.types.FloatParamType):
        right, needed = type(value) in (int, float), "a number"
    elif key_of(parameter) in LISTS and isinstance(value, list):
        right = all(type(item) in (str, int) and "," not in str(item) for item in value)
        value, needed = ",".join(map(str, value)), "a list of names or whole numbers"
    else:
        right, needed = type(value) in (str, int, float), "text, or a number"
        value = str(value)
    if not right:
        raise ConfigError(f"{where}: write {needed}")
    return _converted(parameter, value, where)


def _of_text(parameter: click.Parameter, text: str, where: str) -> Any:  # noqa: ANN401
    """Return the value that a text is, for an option without a value ``true`` or ``false``."""
    if not isinstance(parameter.type, click.types.BoolParamType):
        return _converted(parameter, text, where)
    if text not in ("true", "false"):
        raise ConfigError(f"{where}: write true or false")
    return text == "true"


def _converted(parameter: click.Parameter, value: Any, where: str) -> Any:  # noqa: ANN401
    try:
        return parameter.type.convert(value, parameter, None)
    except click.BadParameter as error:
        raise ConfigError(f"{where}: {error.message}") from None


def resolved(context: click.Context, **facts: Any) -> bytes:  # noqa: ANN401
    """Return the configuration of the run that a command makes: every setting as it is, by whatever way it came.

    Parameters
    ----------
    context : click.Context
    **facts
        Settings that the options leave open, such as the network of a data set.
    """
    settings, files = {}, []
    for key, parameter in parameters(context.command).items():
        value = facts.get(key, context.params[str(parameter.name)])
        if value is None or parameter.name in NOT_SAVED:
            continue
        if key in PATHS:
            items = [_whole_path(item) for item in _items(key, value)]
            files += [item for item in items if Path(item).is_absolute()]
            value = items if key in LISTS else items[0]
        elif key in LISTS and not isinstance(parameter.type, click.types.IntParamType):
            value = [int(item) if item.lstrip("-").isdecimal() else item for item in _items(key, value)]
        settings[key] = value
    return config.to_toml(str(context.command.name), settings, dict.fromkeys(files)).encode()


def config_of(network: Network, settings: StepSettings, rate: str | None) -> bytes:
    """Return the configuration of the training that the command at work makes, for its folder.

    Parameters
    ----------
    network : Network
    settings : StepSettings
    rate : str, optional
        The learning rate as it was given; None is the one that is used then.
    """
    from fasim.checks import default_learning_rate

    lr: str | float | None = rate
    if rate is None:
        lr = default_learning_rate(settings, network.outputs)
    else:
        with suppress(ValueError):
            lr = float(rate)
    return resolved(
        click.get_current_context(),
        net=str(network),
        output=network.output,
        target=settings.target,
        loss=settings.loss,
        lr=lr,
    )


def _items(key: str, text: str) -> Iterator[str]:
    yield from (item.strip() for item in text.split(",")) if key in LISTS else (text,)


def _whole_path(text: str) -> str:
    """Return the absolute path of a file that a text names, or the text: a run is repeated from any folder."""
    if not text.lower().endswith(config.ENDINGS):
        return text
    path = Path(text)
    return str(path.absolute()) if path.is_file() else text


def repeat(context: click.Context, file: str) -> None:
    """Run the command of a configuration that ``fasim run`` was given, in a new folder.

    Raises
    ------
    ConfigError
        If it names no command that there is, or a setting is given beside it.
    """
    from fasim.cli import command as fasim

    for name in sorted(context.params):
        if name not in BESIDE and context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            flag = f"--{key_of(next(one for one in context.command.params if one.name == name)).replace('_', '-')}"
            raise ConfigError(
                f"{flag}: {file} is a configuration, which is repeated as it is; give it to its command with --config "
                "to change something"
            )
    name = config.read(Path(file)).command
    config.check_keys(f"configuration {file}: command", [name], fasim.commands)
    if name == context.command.name:
        raise ConfigError(f"configuration {file}: it is for `fasim run` itself; give it with --config")
    itself = fasim.commands[name]
    words = ["--config", file]
    for given in ("threads", "as_json"):
        if context.get_parameter_source(given) is ParameterSource.DEFAULT:
            continue
        value = context.params[given]
        words += ["--json"] if given == "as_json" else [f"--{given}", str(value)]
    with itself.make_context(name, words, parent=context.parent) as own:
        own.command.invoke(own)
