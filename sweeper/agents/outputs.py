"""Files that verbs write about an agent: checked before anything is played, and written whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeper.errors import UserError
from sweeper.hints import join_words

__all__ = ["check_output", "writing", "written_whole"]


def check_output(file: Path, endings: Sequence[str]) -> None:
    """Check that a file can be written.

    Args:
        file: its ending says what is written.
        endings: those that there are, such as ``.gif``.

    Raises:
        UserError: it has another ending, or its folder is not there.
    """
    if file.suffix.lower() not in endings:
        known = join_words(endings, "or")
        raise UserError(f"{file} must end in {known}, which says what is written")
    if not file.absolute().parent.is_dir():
        raise UserError(f"{file} can't be written: there is no folder {file.absolute().parent}")
    if file.is_dir():
        raise UserError(f"{file} is a folder; give a file in it")


@contextlib.contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """Give a file to write beside another, which it then replaces; of a failure nothing is left.

    Errors of the block pass as they are: not all need be of the file. See `writing`.

    Raises:
        UserError: it can't be put in place.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        yield temporary
        with writing(file):
            temporary.replace(file)
    finally:
        with contextlib.suppress(OSError):  # the name may be too long
            temporary.unlink()


@contextlib.contextmanager
def writing(file: Path) -> Iterator[None]:
    """Tell what the system says in the block as an error of the file.

    Raises:
        UserError: it can't be written.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{file} can't be written: {error.strerror or error}") from error
