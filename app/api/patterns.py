r"""Patterns of texts, in two spellings: the document's, which every dialect reads alike, and that of a decoder.

JSON Schema means regular expressions of ECMA-262, in which `$` is the end of the text. To Python, a line break may
follow it, so a decoder's pattern ends in `\Z`, which only Python reads. The document uses neither that nor anything
else in which dialects differ: no look-around, which RE2 lacks, and no `\d`, which takes digits of any script in Python.
"""

from typing import Any

from msgspec import Meta

_END = r"\Z"


def matching(pattern: str, **more: Any) -> Meta:
    """Text that a pattern of the document describes, from its `^` to its `$`; `more` is what else `Meta` takes."""
    return Meta(pattern=pattern.removesuffix("$") + _END, **more)


def as_documented(pattern: str) -> str:
    """A decoder's pattern as the document writes it."""
    return pattern.removesuffix(_END) + "$" if pattern.endswith(_END) else pattern
