"""The spec of an experiment as an immutable value, and its way from and to YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, PrivateAttr

from sweeper.errors import Location, Problem, SpecError, UserError
from sweeper.markup import tag
from sweeper.metrics import Objective, canonical_metric
from sweeper.paths import write_atomically
from sweeper.printable import printable
from sweeper.search.distributions import is_distribution
from sweeper.spec.draft import Draft, read_draft
from sweeper.spec.dumping import dump_environment, dump_spec, dump_value
from sweeper.spec.from_python import plain_values
from sweeper.spec.keys.descriptions import TOP_LEVEL_KEYS
from sweeper.spec.keys.support import Support, find_support
from sweeper.spec.rules import apply_rules
from sweeper.spec.schedulers import Scheduler
from sweeper.spec.search import Search
from sweeper.spec.sections import (
    Budget,
    Checkpoint,
    Environment,
    Evaluation,
    Plateau,
    Ray,
    Resources,
    Selection,
    Tracking,
)
from sweeper.spec.text.documents import Document, load_document, plain_document
from sweeper.spec.text.yaml import KeyPath
from sweeper.veil import hide_beginnings, hide_passwords

if TYPE_CHECKING:
    from sweeper.planning.plan import SweepPlan

__all__ = [
    "ExperimentSpec",
    "Reading",
    "dump_environment",
    "dump_spec",
    "dump_value",
    "load_record",
    "load_spec",
    "parse",
    "read_spec",
]

# Sections that may be written as a bare text, and the key it stands for.
_SHORTHANDS = {"environment": "id", "scheduler": "type"}

# Arguments of environments and wrappers.
_DISTINCT = "|".join(key for key in TOP_LEVEL_KEYS if key != "name")  # others' files have names
_SPEC_KEY = re.compile(rf"(?m)(?:^|[{{,]\s*)[\"']?(?:{_DISTINCT})[\"']?\s*:")
_UNTYPED = (("environment", "kwargs"), ("environment", "wrappers"))


class ExperimentSpec(BaseModel):
    """A complete spec with every default resolved.

    Attributes:
        seeds: one per replica.
        param_space: nested; leaves are constants or `Distribution`.
        stop: our metric names to the values at which a trial ends.
        plateau: the spec's ``stop.plateau``; None if off.
        evaluation: None if off.
        tracking: None if off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    environment: Environment
    algorithm: str
    backend: str
    seeds: tuple[int, ...]
    param_space: dict[str, Any]
    search: Search
    scheduler: Scheduler
    stop: dict[str, Any]
    plateau: Plateau | None = None
    budget: Budget
    evaluation: Evaluation | None
    selection: Selection
    checkpoint: Checkpoint
    resources: Resources
    storage: str
    ray: Ray
    tracking: Tracking | None

    _document: Document = PrivateAttr(default_factory=lambda: Document({}))

    def __eq__(self, other: object) -> bool:
        """Whether the same experiment is run; the source does not count."""
        if not isinstance(other, ExperimentSpec):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        """Hash the name only: other fields are mappings."""
        return hash(self.name)

    @property
    def source(self) -> Path | None:
        """The spec's file."""
        return self._document.source

    @property
    def as_written(self) -> str:
        """The spec's file as its author wrote it, comments and all, without passwords in URIs.

        What it extends follows, each file as a YAML document. Empty if it was read from no file.
        """
        texts: list[str] = []
        for file, text in self._document.files:
            head = f"---\n# {printable(file.name)}, which is extended\n" if texts else ""
            texts.append(f"{head}{text.rstrip()}\n")
        return hide_passwords("".join(texts))

    @property
    def objective(self) -> Objective:
        """What ranks the trials."""
        chosen = self.selection
        return Objective(metric=chosen.metric, mode=chosen.mode, score=chosen.score)

    @property
    def support(self) -> Support:
        """What the backend supports of the algorithm."""
        return find_support(self.backend, self.algorithm)

    @property
    def servers(self) -> dict[str, str | None]:
        """What a launch connects to, by its key in the spec."""
        tracking = None if self.tracking is None else self.tracking.uri
        return {"ray.address": self.ray.address, "tracking.uri": tracking}

    @property
    def follows_cluster(self) -> bool:
        """Whether as many trials run at a time as a cluster has room for."""
        return self.ray.address is not None and self.search.max_concurrent == "auto"

    @property
    def perturbation_interval(self) -> int | None:
        """Env steps from one exchange of a population to the next; None without one.

        By default the checkpoints' rhythm, since an exchange takes over a checkpoint.
        """
        options = self.scheduler.options
        given = getattr(options, "perturbation_interval", None)
        is_population = "perturbation_interval" in type(options).model_fields
        return (given or self.checkpoint.every_env_steps) if is_population else None

    @property
    def keeps_trainer(self) -> bool:
        """Whether a finished trial's checkpoint can still be trained further."""
        return self.checkpoint.trainer or not self.support.drops_trainer

    def locate(self, path: KeyPath) -> Location:
        """The location of a key, or of the nearest key above it."""
        return self._document.locate(path)

    def to_yaml(self) -> str:
        """The whole spec with every default, as a run records it; `load_spec` reads it back."""
        return dump_spec(self)

    def save(self, path: str | Path) -> Path:
        """Write the whole spec to a file, completely or not at all; returns its path.

        Raises:
            UserError: the file can't be written.
        """
        file = Path(path)
        try:
            write_atomically(file, self.to_yaml())
        except OSError as error:
            raise UserError(f"{file} can't be written: {error.strerror}") from error
        return file

    def __repr__(self) -> str:
        """A line; `to_yaml` has all of it."""
        seeds = f"{len(self.seeds)} seed{'s' if len(self.seeds) != 1 else ''}"
        words = f"{self.name}: {self.algorithm} on {self.environment.id}, {self.backend}, {seeds}"
        return f"<ExperimentSpec {printable(words)}>"

    def _repr_html_(self) -> str:
        """The whole spec, for a notebook."""
        return tag("pre", self.to_yaml(), style="font-family: monospace").text

    def plan(self) -> SweepPlan:
        """Plan the run.

        Raises:
            SpecError: the environment can't be built, or doesn't fit the algorithm.
        """
        from sweeper.planning.plan import build_plan  # planning imports this module

        return build_plan(self)


@dataclass(frozen=True)
class Reading:
    """The result of reading a spec.

    Attributes:
        spec: None if there are problems.
        problems: all of them.
        draft: the readable parts; None if there are none.
    """

    spec: ExperimentSpec | None
    problems: tuple[Problem, ...]
    draft: Draft | None


def read_spec(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    is_training: bool = False,
    text: str | None = None,
    is_record: bool = False,
) -> Reading:
    """Read a spec and report its problems instead of raising them.

    Args:
        path: the YAML file.
        overrides: ``key.path=value`` each, the value in YAML.
        is_training: whether one configuration is trained, so ``num_samples`` may be missing.
        text: used instead of the file's content.
        is_record: whether it is what a run recorded, and may come from somebody else.
    """
    document = load_document(
        Path(path),
        overrides,
        text=text,
        shorthands=_SHORTHANDS,
        is_leaf=is_distribution,
        is_untyped=lambda path: path[:2] in _UNTYPED,
        is_spec=lambda text: not text.strip() or _SPEC_KEY.search(text) is not None,
        is_record=is_record,
    )
    return _read(document, is_training=is_training)


def load_spec(
    path: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    text: str | None = None,
) -> ExperimentSpec:
    """Read a spec from its file, with the arguments of `read_spec`, or from a dictionary.

    A dictionary has the keys of the file. Its distributions are those of `sweeper.space`, or Ray
    Tune's; numpy's numbers and tuples are taken for plain ones and lists.

    Raises:
        SpecError: with all problems, each at its line, or at its key.
        UserError: overrides beside a dictionary.
    """
    if isinstance(path, Mapping):
        if overrides or text is not None:
            raise UserError("overrides go with a spec's file; set the keys of the dictionary")
        return parse(plain_values(path))
    return _whole(read_spec(path, overrides, text=text))


def load_record(
    path: Path, overrides: Sequence[str] = (), *, text: str | None = None
) -> ExperimentSpec:
    """Read the spec that a run recorded, with the arguments of `read_spec`.

    Run folders are handed on, so what stands in one is not trusted: it reads no other file, and
    no environment variable is put in its place.

    Raises:
        SpecError: with all problems, each at its line.
    """
    return _whole(read_spec(path, overrides, text=text, is_record=True))


def parse(document: Document | Mapping[str, Any]) -> ExperimentSpec:
    """Make a spec from a document or plain values.

    Raises:
        SpecError: with all problems.
    """
    if not isinstance(document, Document):
        document = plain_document(document, _SHORTHANDS)
    return _whole(_read(document))


def _read(document: Document, *, is_training: bool = False) -> Reading:
    if not document.data and document.problems:
        return Reading(None, document.problems, None)
    draft = read_draft(document, is_training=is_training)
    apply_rules(draft)
    problems = tuple(
        replace(one, message=hide_beginnings(one.message, document.variables))
        for one in (*document.problems, *_beside(document.problems, draft.problems))
    )
    return Reading(None if problems else _build(draft), problems, draft)


def _beside(first: Sequence[Problem], later: Sequence[Problem]) -> Iterator[Problem]:
    """The later problems, without those of keys whose text could not be read."""
    unread = {problem.key for problem in first if problem.key}
    for problem in dict.fromkeys(later):
        parts = problem.key.split(".")
        ways = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
        if parts[0] not in TOP_LEVEL_KEYS or not any(way in unread for way in ways):
            yield problem


def _whole(reading: Reading) -> ExperimentSpec:
    if reading.spec is None:
        raise SpecError(reading.problems)
    return reading.spec


def _build(draft: Draft) -> ExperimentSpec:
    sections = {**draft.sections, "plateau": draft.plateau}
    for name, section in sections.items():
        if isinstance(section, Selection | Plateau):
            ours = canonical_metric(section.metric)
            sections[name] = section.model_copy(update={"metric": ours})
    others = ("name", "algorithm", "backend", "seeds", "stop", "storage")
    read = {name: getattr(draft, name) for name in others}
    spec = ExperimentSpec.model_validate({**read, **sections, "param_space": draft.space})
    spec._document = draft.document
    return spec
