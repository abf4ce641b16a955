"""The frame of the command line: shared options, the command group, errors and exit codes.

Each command imports what it needs when it runs, so ``--help`` is fast. Data goes to stdout,
messages and progress to stderr.
"""

from __future__ import annotations

import errno
import gc
import json
import logging
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from sweeper.cli.completion import complete_run, complete_spec
from sweeper.errors import SpecError, SweeperError, UserError
from sweeper.json_values import to_json
from sweeper.paths import DEFAULT_STORAGE
from sweeper.printable import PrintableFormatter, printable
from sweeper.streams import discard, has_reader, prepare_streams
from sweeper.veil import hide_passwords

if TYPE_CHECKING:
    from sweeper.api import Run

__all__ = [
    "changed_environment_option",
    "cli",
    "json_option",
    "main",
    "open_reference",
    "overrides_argument",
    "print_data",
    "print_json",
    "quiet_option",
    "run_argument",
    "say",
    "show",
    "spec_argument",
    "storage_option",
    "tell",
    "tell_result",
    "trust_option",
    "verbose_option",
]

_CLICKS_HINT = re.compile(r"\. \(?Did you mean( one of)?:?( [^?]*)\?\)?$")
_TRUST, _TRUSTED = "--trust", ("none", "own", "all")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "A spec": ("init", "plan", "schema"),
    "A sweep": ("run", "train", "resume", "confirm", "stop"),
    "Results": (
        *("status", "list", "results", "best", "advise", "compare"),
        *("plot", "report", "logs", "stack", "ui"),
    ),
    "An agent": ("evaluate", "inspect", "trace", "video", "export"),
    "Upkeep": ("log", "clean", "doctor", "completion"),
}


def _set_log_level(level: str) -> None:
    logging.getLogger().setLevel(level)
    # Our own warnings are shown by default.
    logging.getLogger("sweeper").setLevel("WARNING" if level == "ERROR" else level)


def _set_verbose(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        _set_log_level("INFO")


storage_option = click.option(
    "--storage",
    metavar="FOLDER",
    default=DEFAULT_STORAGE,
    help="The folder that holds the runs, or its address (s3://…).",
)
# Users look for it after the command, too.
verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_set_verbose,
    help="Show what Ray, RLlib and MLflow log.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
changed_environment_option = click.option(
    "--allow-changed-environment",
    is_flag=True,
    help="Go on although the environment's code has changed since the run was started.",
)
trust_option = click.option(
    _TRUST,
    type=click.Choice(_TRUSTED),
    is_flag=False,
    flag_value="all",
    default="own",
    metavar="[none]",
    show_default=False,
    help="Use a run that you did not make on this machine: run its code, connect to its servers. "
    "With none run no code of a run, not even your own.",
)
run_argument = click.argument(
    "reference", metavar="[RUN]", default="last", shell_complete=complete_run
)
spec_argument = click.argument("spec", metavar="SPEC", shell_complete=complete_spec)
overrides_argument = click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)


def main() -> NoReturn:
    """Run the console script: errors become a message on stderr and an exit code."""
    prepare_streams()
    # SIGTERM ends a command as Ctrl-C does; a launch installs its own handler.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Ray, torch and MLflow create a million permanent objects. With Python's default thresholds,
    # collecting garbage among them takes a fifth of the CPU time until a sweep starts.
    gc.set_threshold(50_000, 10, 10)
    try:
        with _until_reader_goes():
            code = cli.main(prog_name="sweeper", standalone_mode=False)
            sys.stdout.flush()
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.UsageError as error:
        say(_explain_usage(error))
        code = error.exit_code
    except SpecError as error:
        say("\n".join(str(problem) for problem in error.problems))
        count = len(error.problems)
        say(f"{count} problem{'s' if count != 1 else ''}; nothing was started")
        code = error.exit_code
    except (SweeperError, click.ClickException) as error:
        say(f"error: {error}")
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("interrupted")
        code = 130
    except _ReaderGone:
        code = 0
    except OSError as error:  # missing permissions, a full disk
        where = f"{error.filename}: " if error.filename else ""
        say(f"error: {where}{error.strerror or error}")
        code = 1
    gc.freeze()  # or Python looks through all of them once more before it ends, for a second
    sys.exit(code)


class _ReaderGone(Exception):  # noqa: N818 - no error of anybody's
    """Whoever reads our output has closed the pipe, and wants no more of it."""


@contextmanager
def _until_reader_goes() -> Iterator[None]:
    """End a command as soon as nobody reads its output any more.

    Click takes every broken pipe for that, and ends the process with code 1.

    Raises:
        _ReaderGone: nobody does.
    """
    try:
        yield
    except BrokenPipeError as error:
        if has_reader(sys.stdout):
            raise OSError(errno.EIO, "a pipe to another process is broken") from error
        discard(sys.stdout.fileno())
        raise _ReaderGone from None


def say(text: str) -> None:
    """Print a message on stderr."""
    _write(sys.stderr, f"{printable(text)}\n")


def tell(text: str) -> None:
    """Print a line of text on stdout."""
    _write(sys.stdout, f"{printable(text)}\n")


def tell_result(text: str) -> None:
    """Print the last line of a command on stdout; that nobody reads it changes no exit code."""
    try:
        tell(text)
    except BrokenPipeError:
        discard(sys.stdout.fileno())


def print_data(text: str) -> None:
    """Print text on stdout as it is, unless a terminal would act on it."""
    whole = hide_passwords(text)
    _write(sys.stdout, printable(whole) if sys.stdout.isatty() else whole)


def _write(stream: TextIO, text: str) -> None:
    """Write at once; click would take UTF-8 where the user has chosen ASCII."""
    stream.write(text)
    stream.flush()


def _explain_usage(error: click.UsageError) -> str:
    """Click's error in the form of our own, with the usage and a pointer to the help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message()
    message = " ".join(error.format_message().split()).rstrip(".")
    message = _CLICKS_HINT.sub(r"; did you mean\1\2?", message)
    lines = [f"error: {message[:1].lower()}{message[1:]}"]
    if error.ctx is None:
        return lines[0]
    takes_overrides = any(one.name == "overrides" for one in error.ctx.command.params)
    if isinstance(error, click.NoSuchOption) and takes_overrides:
        lines[0] = _explain_dashes(error.option_name) or lines[0]
    usage = " ".join(error.ctx.get_usage().split()).replace("Usage:", "usage:", 1)
    lines += [usage, f"`{error.ctx.command_path} --help` explains it"]
    return "\n".join(lines)


def _explain_dashes(option: str) -> str | None:
    """The message for a key of the spec given as an option; None for any other option."""
    from sweeper.spec.keys.descriptions import TOP_LEVEL_KEYS

    key = option.lstrip("-").replace("-", "_")
    if key.partition(".")[0] not in TOP_LEVEL_KEYS:
        return None
    return f"error: no such option {option!r}; a key of the spec is set without dashes: {key}=VALUE"


def _print_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from sweeper.running.provenance import package_versions

        versions = package_versions()
        tell(f"sweeper {versions.pop('sweeper')}")
        tell(", ".join(f"{name} {version}" for name, version in versions.items()))
        context.exit()


class _Commands(click.Group):
    """Lists the commands by section, in the order of use; click sorts them alphabetically."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the arguments; see `click.Command.make_context`."""
        name, words, *rest = args
        with _until_reader_goes():
            return super().make_context(name, _join_trust(words), *rest, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see `click.Group.invoke`."""
        with _until_reader_goes():
            return super().invoke(ctx)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write one list per section, with aligned columns."""
        width = max(map(len, self.commands))
        for title, names in _SECTIONS.items():
            rows = [
                (f"{name:<{width}}", self.commands[name].get_short_help_str(formatter.width))
                for name in names
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


def _join_trust(words: Sequence[str]) -> list[str]:
    """The arguments with ``--trust`` and its value as one, since click would take a run for it."""
    joined: list[str] = []
    for position, word in enumerate(words):
        if word == "--":
            return [*joined, *words[position:]]
        if joined and joined[-1] == _TRUST and word in _TRUSTED:
            joined[-1] = f"{_TRUST}={word}"
        else:
            if joined and joined[-1] == _TRUST:
                joined[-1] = f"{_TRUST}=all"
            joined.append(word)
    return joined


@click.group(cls=_Commands, context_settings=_SETTINGS)
@click.option("-v", "--verbose", is_flag=True, help="Show what Ray, RLlib and MLflow log.")
@click.option(
    "--log-level",
    type=click.Choice(_LOG_LEVELS, case_sensitive=False),
    metavar="LEVEL",
    help="Lowest level to show: debug, info, warning or error.  [default: error, and sweeper's "
    "warnings]",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print versions and exit.",
)
def cli(verbose: bool, log_level: str | None) -> None:
    """Hyperparameter sweeps for reinforcement learning, with evidence.

    A spec is one YAML file. RUN is a path, the name of a folder under the storage, or `last`,
    the default.

    \b
    sweeper init CartPole-v1         write a first spec
    sweeper run cartpole-ppo.yaml    run it
    sweeper best                     see who won
    """  # noqa: D301 - click needs the character \\b
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler])
    _set_log_level(log_level or ("INFO" if verbose else "ERROR"))


def open_reference(
    reference: str, storage: str, metric: str | None = None, mode: str | None = None
) -> Run:
    """Open the run or Ray Tune experiment that the user named."""
    from sweeper.opened_run import open_run  # without what launches need

    try:
        return open_run(reference, storage, metric=metric, mode=mode)
    except SpecError as error:  # in the run's copy of the spec, not in the user's file
        raise UserError(f"the run's spec can't be read: {error.problems[0]}") from error


def print_json(document: Any) -> None:
    """Print data on stdout; it may hold dataclasses and objects with ``to_json``."""
    try:
        text = json.dumps(document, indent=2, allow_nan=False, default=_encode)
    except ValueError:  # it holds NaN or an infinity, which JSON lacks
        plain = json.loads(json.dumps(document, default=_encode))
        text = json.dumps(to_json(plain), indent=2)
    _write(sys.stdout, f"{hide_passwords(text)}\n")


def _encode(value: Any) -> Any:
    return value.to_json() if hasattr(value, "to_json") else to_json(asdict(value))


def show(result: Any, print_text: Callable[[Any], None], as_json: bool) -> None:
    """Print a result as JSON, or by ``print_text`` for people."""
    if as_json:
        print_json(result)
    else:
        print_text(result)
