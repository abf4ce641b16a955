"""Reading each section of a spec on its own and collecting the problems.

An unreadable section is None in the draft and wrong keys are left out, so the ``rules`` can still
check the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sweeper.environments.settings import module_folders
from sweeper.errors import Problem, UserError
from sweeper.hints import did_you_mean, folder_name, number_hint, quote_hint, show
from sweeper.metrics import ENV_STEPS, canonical_metric
from sweeper.search.distributions import distributions, flatten, parse_space
from sweeper.spec.finalists import default_finalists
from sweeper.spec.foreign_files import explain_foreign_file
from sweeper.spec.keys.descriptions import TOP_LEVEL_KEYS
from sweeper.spec.keys.infinities import read_infinite_points, read_infinities
from sweeper.spec.keys.names import check_algorithm, defaults
from sweeper.spec.keys.support import (
    BACKENDS,
    DEFAULT_ALGORITHM,
    REFERENCE_BACKEND,
    Support,
    default_backend,
    find_support,
)
from sweeper.spec.schedulers import Scheduler, bound_by_max_t
from sweeper.spec.search import Search
from sweeper.spec.section_table import SECTIONS, WITH_OPTIONS
from sweeper.spec.sections import MAX_NUMBER, Plateau, Section, Selection
from sweeper.spec.text.documents import Document
from sweeper.spec.text.yaml import KeyPath, dotted
from sweeper.spec.top_level_keys import explain_unknown_key, find_meant
from sweeper.spec.validation_errors import explain_error, explain_no_mapping, strip_tags
from sweeper.sqlite_address import default_tracking_uri
from sweeper.storage.address import parse_address

__all__ = ["Draft", "read_draft"]

_PLATEAU = ("stop", "plateau")

_MAX_NAME = 100
_MAX_SEEDS = 1000
_SEED = "a whole number from 0 on, of at most 15 digits"
_NAME = re.compile(r"[A-Za-z0-9._-]+\Z")

AnySection = TypeVar("AnySection", bound=Section)


@dataclass
class Draft:
    """The readable parts of a spec.

    Attributes:
        document: the source, for locations.
        raw: the document's data without null keys, which count as left out.
        is_training: whether one configuration is trained, without a search.
        sections: by name; None if switched off or unreadable.
        broken: sections with problems of their own.
        misspelt: top-level keys that unknown ones were probably meant to be; not missing.
        space: the param space without its wrong leaves.
    """

    document: Document
    raw: dict[str, Any]
    is_training: bool = False
    name: str = ""
    algorithm: str | None = None
    backend: str = REFERENCE_BACKEND
    seeds: tuple[int, ...] = ()
    storage: str = "runs"
    space: dict[str, Any] = field(default_factory=dict)
    stop: dict[str, float] = field(default_factory=dict)
    plateau: Plateau | None = None
    sections: dict[str, Section | None] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    misspelt: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    @property
    def support(self) -> Support:
        """What the backend supports of the algorithm, if that could be read."""
        return find_support(self.backend, self.algorithm or "")

    def get(self, kind: type[AnySection]) -> AnySection | None:
        """A section by its model; None if switched off or unreadable."""
        found = self.sections.get(kind.__name__.lower())
        return found if isinstance(found, kind) else None

    def complain(self, path: KeyPath, message: str) -> None:
        """Add a problem at the location of a key."""
        self.problems.append(Problem(self.document.locate(path), dotted(path), message))


def read_draft(document: Document, *, is_training: bool = False) -> Draft:
    """Read every section of a document as far as possible."""
    raw = {key: value for key, value in document.data.items() if value is not None}
    draft = Draft(document, raw, is_training)
    foreign = explain_foreign_file(raw)
    if foreign is not None:
        draft.complain((foreign[0],), foreign[1])
        draft.misspelt |= {"algorithm", "environment", "stop"}
    for key in () if foreign else document.data:
        if key not in TOP_LEVEL_KEYS:
            draft.complain((key,), explain_unknown_key(key, raw, SECTIONS))
            meant = find_meant(key)
            if meant is not None and meant not in raw:
                draft.misspelt.add(meant)
    draft.name = _read_name(draft)
    draft.storage = _read_storage(draft)
    draft.algorithm = _read_algorithm(draft)
    draft.backend = _read_backend(draft)
    draft.seeds = _read_seeds(draft)
    draft.space = _read_space(draft)
    if draft.algorithm is not None:
        draft.raw = read_infinite_points(draft.raw, draft.algorithm, draft.backend)
    draft.stop = bound_by_max_t(_read_stop(draft), draft.raw.get("scheduler"))
    for name, model in SECTIONS.items():
        draft.sections[name] = _read_section(draft, name, model)
    draft.plateau = _read_plateau(draft)
    return draft


# --- keys of the top level -------------------------------------------------------------------


def _read_name(draft: Draft) -> str:
    source = draft.document.source
    stem = source.stem if source is not None else "sweep"
    fallback = folder_name(stem)[:_MAX_NAME] or "sweep"
    name = _read_text(draft, "name", fallback)
    if not _NAME.match(name) or len(name) > _MAX_NAME or not name.strip("."):
        form = f"must be of ASCII letters, digits, `.`, `_` and `-`, at most {_MAX_NAME}"
        near = folder_name(name)
        hint = f"; write {near}" if near and len(name) <= _MAX_NAME else ""
        draft.complain(("name",), f"becomes a folder, so it {form}; found {show(name)}{hint}")
        return fallback
    return name


def _read_text(draft: Draft, key: str, fallback: str) -> str:
    value = draft.raw.get(key, fallback)
    if isinstance(value, str) and value:
        return value
    draft.complain((key,), f"must be a text; found {show(value)}" + quote_hint(value))
    return fallback


def _read_storage(draft: Draft) -> str:
    storage = _read_text(draft, "storage", "runs")
    try:
        if (address := parse_address(storage)) is not None:
            return str(address)
        return str(Path(storage).expanduser()) if storage.startswith("~") else storage
    except UserError as error:
        draft.complain(("storage",), str(error).removeprefix("storage "))
        return "runs"
    except RuntimeError:
        message = f"{show(storage)} can't be found: no such user; give the folder in full"
        draft.complain(("storage",), message)
        return "runs"


def _read_algorithm(draft: Draft) -> str | None:
    if "algorithm" not in draft.raw:
        if not draft.document.is_partial and "algorithm" not in draft.misspelt:
            message = f"is missing; name one, e.g. algorithm: {DEFAULT_ALGORITHM}"
            draft.complain(("algorithm",), message)
        return None
    name = _read_text(draft, "algorithm", "")
    problem = check_algorithm(name) if name else None
    if problem is None:
        return name or None
    draft.complain(("algorithm",), problem)
    return None


def _read_backend(draft: Draft) -> str:
    fallback = default_backend(draft.algorithm)
    value = draft.raw.get("backend", fallback)
    if value in BACKENDS:
        return str(value)
    form = f"must be one of {', '.join(BACKENDS)}"
    draft.complain(("backend",), f"{form}; found {show(value)}{did_you_mean(value, BACKENDS)}")
    return fallback


def _read_seeds(draft: Draft) -> tuple[int, ...]:
    value = draft.raw.get("seeds", draft.support.default_seeds)
    form = f"must be a number of replicas from 1 to {_MAX_SEEDS}, or a list of seeds"
    if isinstance(value, list):
        wrong = [seed for seed in value if not _is_seed(seed)]
        if wrong:
            draft.complain(("seeds",), f"each seed must be {_SEED}; found {show(wrong[0])}")
        elif not value or len(value) > _MAX_SEEDS:
            draft.complain(("seeds",), f"{form}; found a list of {len(value)}")
        elif len(set(value)) < len(value):
            twice = next(seed for seed in value if value.count(seed) > 1)
            draft.complain(("seeds",), f"seed {twice} is there twice; replicas would be the same")
        else:
            return tuple(value)
    elif isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MAX_SEEDS:
        return tuple(range(value))
    else:
        draft.complain(("seeds",), f"{form}; found {show(value)}" + number_hint(value))
    return (0,)


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER


def _read_space(draft: Draft) -> dict[str, Any]:
    value = draft.raw.get("param_space", {})
    if not isinstance(value, Mapping):
        message = f"must be a mapping of hyperparameters; found {show(value)}"
        draft.complain(("param_space",), message)
        return {}
    known = {} if draft.algorithm is None else defaults(draft.algorithm, draft.backend)
    if draft.algorithm is not None:
        value = read_infinities(value, draft.algorithm, draft.backend)
    space, problems = parse_space(value, [dotted(path) for path, _ in flatten(known)])
    for problem in problems:
        draft.broken.add("param_space")
        draft.complain(("param_space", *problem.path), problem.message)
    return space


def _read_stop(draft: Draft) -> dict[str, float]:
    value = draft.raw.get("stop", {})
    stop: dict[str, float] = {}
    if not isinstance(value, Mapping):
        message = f"must be a mapping of metrics to values, e.g. {ENV_STEPS}: 100000"
        draft.complain(("stop",), f"{message}; found {show(value)}")
        return {}
    for key, bound in value.items():
        if bound is None or key == _PLATEAU[-1]:
            continue  # whether trials report it is a rule
        name = canonical_metric(key)
        if isinstance(bound, Mapping):
            message = (
                f"must be a number; found {show(bound)}; the only mapping allowed here is plateau"
            )
            draft.complain(("stop", key), message)
        elif isinstance(bound, bool) or not isinstance(bound, int | float):
            message = f"must be a number; found {show(bound)}" + number_hint(bound)
            draft.complain(("stop", key), message)
        elif not math.isfinite(bound):
            draft.complain(("stop", key), f"must be a finite number; found {show(bound)}")
        elif name in stop:
            draft.complain(("stop", key), f"is the same metric as {name}; keep one")
        else:
            stop[name] = bound
    return stop


# --- sections --------------------------------------------------------------------------------


def _read_section(draft: Draft, name: str, model: type[Section]) -> Section | None:
    is_null = name in draft.document.data and name not in draft.raw
    if (name == "tracking" and is_null) or (name == "evaluation" and name not in draft.raw):
        return None
    value = draft.raw.get(name, {})
    if name in WITH_OPTIONS and isinstance(value, Mapping):
        return _read_with_options(draft, name, value)
    if name == "environment" and name not in draft.raw:
        if not draft.document.is_partial and name not in draft.misspelt:
            message = "is missing; give a gymnasium id, e.g. environment: CartPole-v1"
            draft.complain((name,), message)
        return None
    return _read_model(draft, (name,), model, value)


def _read_with_options(draft: Draft, name: str, value: Mapping[str, Any]) -> Section | None:
    """A scheduler or a search with its options, which depend on which one it is."""
    model, chooses, models = WITH_OPTIONS[name]
    own = {key: value[key] for key in model.model_fields if key in value}
    section = _read_model(draft, (name,), model, own)
    if section is None:
        return None
    chosen = getattr(section, chooses)
    if value.get(chooses) not in (None, chosen):
        return section  # which options there are is unknown
    given = {key: item for key, item in value.items() if key not in model.model_fields}
    options = _read_model(draft, (name,), models[chosen], given)
    return section if options is None else section.with_options(options)


def _read_plateau(draft: Draft) -> Plateau | None:
    """``stop.plateau``, read after the sections: its default metric is selection's."""
    stop = draft.raw.get("stop")
    value = stop.get(_PLATEAU[-1]) if isinstance(stop, Mapping) else None
    return None if value is None else _read_model(draft, _PLATEAU, Plateau, value)


def _read_model(
    draft: Draft, path: KeyPath, model: type[AnySection], value: Any
) -> AnySection | None:
    section, name = str(path[0]), str(path[-1])
    if not isinstance(value, Mapping):
        draft.broken.add(section)
        draft.complain(path, explain_no_mapping(name, model, value))
        return None
    # Null leaves a known key out; an unknown one is an error whatever it holds.
    fields = model.model_fields
    values = {key: one for key, one in value.items() if one is not None or key not in fields}
    while True:
        filled = {**_defaults(draft, name, values, model), **values}
        try:
            return model.model_validate(filled)
        except ValidationError as error:
            draft.broken.add(section)
            wrong = set()
            for details in error.errors(include_url=False):
                details["loc"] = strip_tags(details["loc"])
                key = details["loc"][0] if details["loc"] else None
                if details["type"] == "missing" and details["loc"] == (key,) and key in value:
                    continue  # wrong, and reported already
                draft.complain((*path, *details["loc"]), explain_error(details, model))
                wrong.add(key)
            kept = {key: item for key, item in values.items() if key not in wrong}
            if len(kept) == len(values):
                return None  # only missing keys, so leaving one out does not help
            values = kept


def _defaults(
    draft: Draft, name: str, values: Mapping[str, Any], model: type[Section]
) -> dict[str, Any]:
    """The defaults that depend on other parts of the spec."""
    if model is Search:
        return _search_defaults(draft, values)
    if name in {"evaluation", "checkpoint"}:
        return {"every_env_steps": _exchange_rhythm(draft) or _tenth_of_budget(draft)}
    if name == "selection":
        evaluates = "evaluation" in draft.raw
        usual = "evaluation/episode_return_mean" if evaluates else "episode_return_mean"
        metric, search = values.get("metric", usual), None if draft.problems else draft.get(Search)
        most = 0 if draft.is_training else draft.support.default_finalists
        finalists = default_finalists(draft.space, draft.stop, metric, search, most=most)
        return {
            "metric": usual,
            "finalists": finalists,
            "confirm_seeds": draft.support.default_confirm_seeds,
        }
    if name == _PLATEAU[-1]:
        selection = draft.get(Selection)
        return {} if selection is None else {"metric": selection.metric}
    if name == "environment":
        return _environment_defaults(draft, values)
    if name == "tracking":
        return {"uri": default_tracking_uri(draft.storage), "experiment": draft.name}
    return {}


def _search_defaults(draft: Draft, values: Mapping[str, Any]) -> dict[str, Any]:
    leaves = [leaf for _, leaf in distributions(draft.space)]
    only_grid = all(leaf.is_grid for leaf in leaves)
    is_random = not only_grid and values.get("algorithm") != "grid"
    is_counted = "num_samples" in values or draft.is_training or "search" in draft.misspelt
    if is_random and not is_counted and "search" not in draft.broken:
        message = "is missing: how many configurations to draw, e.g. 16"
        draft.complain(("search", "num_samples"), message)
        draft.broken.add("search")
    return {"algorithm": "grid" if only_grid else "random", "num_samples": 1}


def _exchange_rhythm(draft: Draft) -> int | None:
    """A population is compared, and saved, at every exchange."""
    scheduler = draft.get(Scheduler)
    return None if scheduler is None else getattr(scheduler.options, "perturbation_interval", None)


def _tenth_of_budget(draft: Draft) -> int | None:
    steps = draft.stop.get(ENV_STEPS)
    return None if steps is None or steps <= 0 else max(1, int(steps // 10))


def _environment_defaults(draft: Draft, values: Mapping[str, Any]) -> dict[str, Any]:
    """Folders to search for the environment's modules, if it has any."""
    wrappers = values.get("wrappers") or []
    names = [next(iter(w), "") if isinstance(w, Mapping) else w for w in wrappers if w]
    dotted_wrapper = any(isinstance(name, str) and "." in name for name in names)
    if not ("module" in values or ":" in str(values.get("id")) or dotted_wrapper):
        return {}
    return {"search_paths": list(module_folders(draft.document.source))}
