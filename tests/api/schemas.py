"""JSON Schema as the document means it: `$` of a pattern is the end of the text, and no line break may follow it."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema


def _matches(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    of_python = pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern
    if isinstance(instance, str) and re.search(of_python, instance) is None:
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _matches})
