"""From a YAML file to an immutable spec: every problem at once, every default resolved.

``text`` reads and composes the YAML, ``sections`` and ``schedulers`` define the keys, ``draft``
reads each section, ``rules`` check how they fit each other, and ``experiment`` is the result.
``keys`` knows the hyperparameters and what each backend supports.
"""

from sweeper.spec.experiment import (
    ExperimentSpec,
    Reading,
    dump_environment,
    dump_spec,
    dump_value,
    load_record,
    load_spec,
    parse,
    read_spec,
)

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
