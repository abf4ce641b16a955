"""From a YAML file to an immutable spec: every problem at once, every default resolved.

``documents`` reads the text, ``sections`` says what each key is, ``draft`` and ``rules`` check
the parts and how they go together, ``experiment`` is the result. ``hyperparameters``,
``backends`` and ``domains`` say which hyperparameters there are and which values they take;
``availability`` says what this version has.
"""

from sweeper.spec.experiment import (
    ExperimentSpec,
    Reading,
    dump_spec,
    load_spec,
    parse,
    read_spec,
)

__all__ = ["ExperimentSpec", "Reading", "dump_spec", "load_spec", "parse", "read_spec"]
