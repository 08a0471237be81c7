"""Laws of reading SAML: one canonical form with libxml2, and no edit of a signed message says anything else."""

from __future__ import annotations

from functools import cache
from xml.sax.saxutils import escape, quoteattr

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from tests.saml_messages import NOW, expected, message, signed_assertion, signed_both, signed_response

from narrowgate.control.saml.response import proven
from narrowgate.control.saml.xml import SAMLRefused, canonical, read_xml

PREFIXES = ("", "a", "b", "xs")
NAMES = ("r", "s", "item")
TEXT = st.text(
    st.characters(blacklist_categories=("Cs", "Co", "Cn"), blacklist_characters=[chr(code) for code in range(32)])
    | st.sampled_from("\n\t\r&<>\"' ]")
).filter(lambda text: "￾" not in text and "￿" not in text)


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> str:
    """An element in whose scope every prefix is declared, though not by itself."""
    prefix = draw(st.sampled_from(PREFIXES))
    name = f"{prefix}:{draw(st.sampled_from(NAMES))}" if prefix else draw(st.sampled_from(NAMES))
    declared = draw(st.dictionaries(st.sampled_from(PREFIXES), st.sampled_from(("u:1", "u:2"))))
    written = "".join(f' xmlns{":" + one if one else ""}="{uri}"' for one, uri in declared.items())
    if "" not in declared and draw(st.booleans()):
        written += ' xmlns=""'
    # Other names for other prefixes: two prefixes may stand for one namespace, and then the attributes would be twins.
    for one in draw(st.sets(st.sampled_from(PREFIXES))):
        written += f" {one + ':' if one else ''}{one or 'n'}{draw(st.sampled_from('xyz'))}={quoteattr(draw(TEXT))}"
    inner = ""
    for _ in range(draw(st.integers(0, 3))):
        inner += draw(elements(depth - 1)) if depth and draw(st.booleans()) else escape(draw(TEXT)).replace("]]>", "]]")
    return f"<{name}{written}>{inner}</{name}>"


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    inner = draw(elements())
    return f'<root xmlns="u:0" xmlns:a="u:1" xmlns:b="u:2" xmlns:xs="u:3">{inner}</root>'.encode()


@given(documents(), st.sets(st.sampled_from(("a", "xs", "unknown"))))
def test_the_canonical_form_is_libxml2s(document: bytes, prefixes: set[str]) -> None:
    tree = etree.fromstring(document)
    theirs = etree.tostring(tree, method="c14n", exclusive=True, inclusive_ns_prefixes=sorted(prefixes))
    assert canonical(read_xml(document), prefixes) == theirs


@given(documents())
def test_an_element_is_written_alike_wherever_it_stands(document: bytes) -> None:
    for element in read_xml(document).walk():
        written = canonical(element)
        assert canonical(read_xml(written)) == written


@cache
def genuine() -> tuple[bytes, ...]:
    what = message(attributes={"groups": ("sre", "developers")})
    return signed_assertion(what), signed_response(what), signed_both(what)


@given(st.sampled_from((0, 1, 2)), st.data())
def test_no_edit_of_a_signed_message_names_anybody_else(which: int, data: st.DataObject) -> None:
    response = genuine()[which]
    against = expected(groups="groups")
    start = data.draw(st.integers(0, len(response)))
    stop = data.draw(st.integers(start, min(len(response), start + 40)))
    put = data.draw(
        st.binary(max_size=8)
        | st.sampled_from((b"<!---->", b"<?x?>", b"&amp;", b" ", b"<x/>", b"]]>", b"<![CDATA[", b"mallory"))
        | st.builds(lambda at: response[at : at + 200], st.integers(0, len(response)))
    )
    try:
        who = proven(response[:start] + put + response[stop:], against, NOW).who
    except SAMLRefused:
        return
    assert who == proven(response, against, NOW).who
