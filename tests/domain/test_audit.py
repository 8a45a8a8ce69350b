"""What the audit keeps of a body: bounded, storable, without secrets."""

import pytest

from app.domain.audit import LARGEST_BODY, bounded_path, bounded_text
from app.domain.origin import Origin, parse_origin

KEY = "hf_0123456789ab_" + "x" * 43


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a": 1}', '{"a": 1}'),
        (b"", None),
        (b"\xff\xfe{", "\\xff\\xfe{"),
        (b"a\x00b", "a\\x00b"),
        ("é€".encode(), "é€"),
        (b'{"secret": "s3", "b": 1}', '{"secret": "[redacted]", "b": 1}'),
        (b'{"webhook_secret":"a\\"b","c":2}', '{"webhook_secret":"[redacted]","c":2}'),
        (b'{"Password" : "p"}', '{"Password" : "[redacted]"}'),
        (b'{"api_key": "k", "token": "t"}', '{"api_key": "[redacted]", "token": "[redacted]"}'),
        (b'{"secret": "cut in the mid', '{"secret": "[redacted]"'),
        (f'{{"note": "my key is {KEY}!"}}'.encode(), '{"note": "my key is [redacted]!"}'),
        ('{"to\u212aen": "by its look"}'.encode(), '{"to\u212aen": "[redacted]"}'),
        ('{"\u017fecret": "by its look"}'.encode(), '{"\u017fecret": "[redacted]"}'),
        (b'{"keynote": "stays", "secretary": "stays"}', '{"keynote": "stays", "secretary": "stays"}'),
    ],
)
def test_a_body_as_text(body: bytes, text: str | None) -> None:
    assert bounded_text(body) == text


@pytest.mark.parametrize("character", ["a", "é", "€", "😀"])
def test_a_long_body_is_cut_between_characters(character: str) -> None:
    text = bounded_text((character * 20_000).encode())
    assert text is not None
    assert set(text) == {character}
    assert LARGEST_BODY - 4 < len(text.encode()) <= LARGEST_BODY


def test_a_secret_at_the_cut_is_redacted() -> None:
    body = b"x" * (LARGEST_BODY - 30) + b'"secret": "' + b"s" * 5_000
    assert "sss" not in (bounded_text(body) or "")


def test_a_path_holds_no_key() -> None:
    assert bounded_path(f"/v1/payments?key={KEY}&x=\x00") == "/v1/payments?key=[redacted]&x=\\x00"


def test_an_origin_comes_back_from_its_text() -> None:
    origin = Origin("r-1", 1_763_656_270_123, ip="::1", method="POST", route="/payments/{payment_id}")
    assert parse_origin(origin.as_text()) == (1_763_656_270_123, "::1", "r-1", "POST /payments/{payment_id}")
