"""From a YAML file to an immutable spec: every problem at once, every default resolved.

``documents`` reads the text, ``sections`` says what each key is, ``draft`` and ``rules`` check
the parts and how they go together, ``experiment`` is the result.
"""

from sweeper.spec.experiment import ExperimentSpec, dump_spec, load_spec, parse

__all__ = ["ExperimentSpec", "dump_spec", "load_spec", "parse"]
