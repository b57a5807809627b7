"""
The request line and headers, as endpoints see them.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.api import UndecodableError
from meterline.serving.http.head import head_of


def content_type(value: str) -> tuple[str, dict[str, str]]:
    """
    Return media type and parameters.
    """
    head = head_of("POST", "/", [("Content-Type", value)])
    return head.media_type, dict(head.media_params)


@pytest.mark.parametrize(
    ("value", "media_type", "params"),
    [
        ("", "", {}),
        ("application/json", "application/json", {}),
        (" Application/JSON ; Charset=UTF-8", "application/json", {"charset": "UTF-8"}),
        ('a/b;x="1;2";y=3', "a/b", {"x": "1;2", "y": "3"}),
        (r'a/b;x="q\"u\\o"', "a/b", {"x": 'q"u\\o'}),
        ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "application/x-protobuf",
         {"proto": "io.prometheus.write.v2.Request"}),
        ('a/b;x="open', "a/b", {"x": '"open'}),
        ("a/b;;=;x", "a/b", {"": ""}),
    ],
)  # fmt: skip
def test_a_content_type_is_taken_apart(value: str, media_type: str, params: dict[str, str]) -> None:
    """
    Type in lower case, parameters unquoted, nonsense passed over.
    """
    assert content_type(value) == (media_type, params)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a/b", "/a/b", {}),
        ("/a?x=1&y=&x=2&z", "/a", {"x": "2", "y": "", "z": ""}),
        ("/a?x=%2B+%C3%A9", "/a", {"x": "+ é"}),
        ("http://h:4318/a?x=1", "/a", {"x": "1"}),
        ("http://h", "/", {}),
        ("//h/a", "//h/a", {}),
        ("/a#f", "/a", {}),
        ("*", "*", {}),
    ],
)
def test_a_target_is_path_and_query(target: str, path: str, query: dict[str, str]) -> None:
    """
    The last of equal fields counts; a whole URL is its path.
    """
    head = head_of("GET", target, [])
    assert (head.path, dict(head.query)) == (path, query)


def test_the_last_of_equal_headers_counts() -> None:
    """
    Names are in lower case.
    """
    assert head_of("GET", "/", [("X-A", "1"), ("x-a", "2")]).headers == {"x-a": "2"}


def test_fields_are_bounded() -> None:
    """
    More than a hundred fields are refused.
    """
    with pytest.raises(UndecodableError, match="more than 100 fields"):
        head_of("GET", "/?" + "a=1&" * 101, [])


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_gives_a_head(target: str, value: str) -> None:
    """
    No target and no Content-Type breaks it, and all of it can be encoded.
    """
    odd = value.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    head = head_of(
        "GET", target.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"), [("Content-Type", odd)]
    )
    repr((dict(head.headers), head.media_type, dict(head.media_params), dict(head.query), head.path)).encode()
