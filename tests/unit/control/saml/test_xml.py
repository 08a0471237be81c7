"""Reading XML strictly, and writing it in the form that is signed."""

from __future__ import annotations

import pytest
from lxml import etree
from tests.saml_messages import message, signed_both

from narrowgate.control.saml.xml import (
    DEEPEST,
    MOST_BYTES,
    MOST_ELEMENTS,
    MOST_PREFIXES,
    SAMLRefused,
    canonical,
    read_xml,
)


def refusal(document: bytes) -> str:
    with pytest.raises(SAMLRefused) as refused:
        read_xml(document)
    return str(refused.value)


def test_elements_are_read_with_their_namespaces() -> None:
    root = read_xml(b'<a:r xmlns:a="u:a" xmlns="u:d" id="1" a:id="2" xml:lang="en">t<c>x<d xmlns=""/></c>u</a:r>')
    (child,) = root.children()
    (inner,) = child.children()
    assert (root.namespace, root.name, root.prefix) == ("u:a", "r", "a")
    assert (child.namespace, child.prefix, inner.namespace) == ("u:d", "", "")
    assert root.attribute("id") == "1"
    assert root.attribute("lang") is None
    assert dict(inner.scope) == {"a": "u:a"}
    assert [part for part in root.content if isinstance(part, str)] == ["t", "u"]
    assert [element.name for element in root.walk()] == ["r", "c", "d"]


def test_text_is_read_whole_or_not_at_all() -> None:
    assert read_xml(b"<a>x&amp;<![CDATA[<y>]]>&#122;</a>").text() == "x&<y>z"
    with pytest.raises(SAMLRefused, match="holds elements where only text belongs"):
        read_xml(b"<a>x<b/>y</a>").text()


def test_comments_are_skipped_only_where_that_is_asked_for() -> None:
    assert refusal(b"<a>x<!-- -->y</a>") == "it has a comment, which could hide part of a name"
    assert read_xml(b"<!-- --><a>x<!-- -->y</a>", skip_comments=True).text() == "xy"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "it has a document type declaration"),
        (b"<!DOCTYPE a><a/>", "it has a document type declaration"),
        (b'<!DOCTYPE a SYSTEM "http://evil.example/a.dtd"><a/>', "it has a document type declaration"),
        (b'<!DOCTYPE a [<!ENTITY % p SYSTEM "file:///etc/passwd">%p;]><a/>', "it has a document type declaration"),
        (b"<a>&x;</a>", "it is not XML (line 1: undefined entity)"),
        (b"<?xml-stylesheet href='http://evil.example'?><a/>", "it has a processing instruction"),
        (b'<a b="1" b="2"/>', "it is not XML (line 1: duplicate attribute)"),
        (b'<a xmlns:p="u" xmlns:q="u" p:a="1" q:a="2"/>', "it is not XML (line 1: duplicate attribute)"),
        (b"<p:a/>", "it is not XML (line 1: unbound prefix)"),
        (b'<a xmlns:p=""/>', "it is not XML (line 1: must not undeclare prefix)"),
        (b"<a/><b/>", "it is not XML (line 1: junk after document element)"),
        (b"<a>\xff</a>", "it is not XML 1.0 in UTF-8"),
        ("<a/>".encode("utf-16"), "it is not XML 1.0 in UTF-8"),
        ("<a/>".encode("utf-16-le"), "it is not XML 1.0 in UTF-8"),
        (b'<?xml version="1.0" encoding="iso-8859-1"?><a/>', "it is not XML 1.0 in UTF-8"),
        (b'<?xml version="1.0" encoding="utf-7"?><a/>', "it is not XML 1.0 in UTF-8"),
        (b'<?xml version="1.1"?><a/>', "it is not XML 1.0 in UTF-8"),
        (b"<a>\0</a>", "it is not XML 1.0 in UTF-8"),
        (b'<a xmlns="u\x1fb"/>', "it is not XML (line 1: not well-formed (invalid token))"),
        (b"<a" * 3, "it is not XML (line 1: not well-formed (invalid token))"),
        (b"<a>", "it is not XML (line 1: no element found)"),
        (b"", "it is not XML (line 1: no element found)"),
    ],
)
def test_what_is_not_plain_xml_is_refused(document: bytes, why: str) -> None:
    assert refusal(document).startswith(why)


def test_documents_have_limits() -> None:
    assert refusal(b" " * (MOST_BYTES + 1)) == f"it is larger than {MOST_BYTES} bytes"
    assert refusal(b"<a>" * (DEEPEST + 1)) == f"its elements are nested more than {DEEPEST} deep"
    many = b"<a>" + b"<b/>" * MOST_ELEMENTS + b"</a>"
    assert refusal(many) == f"it has more than {MOST_ELEMENTS} elements"
    prefixes = "".join(f' xmlns:p{number}="u"' for number in range(MOST_PREFIXES + 1))
    assert refusal(f"<a{prefixes}/>".encode()) == f"it uses more than {MOST_PREFIXES} namespace prefixes in one place"


def test_the_utf_8_mark_is_no_part_of_the_document() -> None:
    assert read_xml(b"\xef\xbb\xbf<?xml version='1.0' encoding='UTF-8'?><a>x</a>").text() == "x"


# --- the canonical form: libxml2's, wherever it can be asked ---

DOCUMENTS = [
    b'<a:r xmlns:a="u:a" xmlns="u:d" xmlns:xs="u:xs" b="2" a:z="1" a="x&#10;y" xml:lang="en"><c xmlns=""> t&gt;&#13;x '
    b'<d xmlns="u:d"/><a:q xs:y="&quot;&lt;&#9;"/></c><![CDATA[<&>]]><e xmlns:a="u:a2"><a:f xmlns:a="u:a"/></e></a:r>',
    b'<r xmlns:z="u:z" xmlns:y="u:y"><z:a y:b="1" z:b="2" b="3"/><z:a xmlns:z="u:z"/></r>',
    "<r a='ü&amp;\"'>日本&#x1F600;</r>".encode(),
    message(attributes={"groups": ["a & b", "<c>"]}).text().encode(),
    signed_both(),
]


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("prefixes", [(), ("xs",), ("a", "xs", "unknown")])
def test_the_canonical_form_is_libxml2s_for_every_element(document: bytes, prefixes: tuple[str, ...]) -> None:
    tree = etree.fromstring(document)
    theirs = [
        # As a root of its own, an element would lose the listed namespaces that are declared around it.
        etree.tostring(node, method="c14n", exclusive=True, with_tail=False, inclusive_ns_prefixes=list(prefixes))
        for node in tree.iter()
        if not prefixes or node is tree
    ]
    ours = [canonical(element, prefixes) for element in read_xml(document).walk()]
    assert ours[: len(theirs)] == theirs


def test_a_listed_default_namespace_is_written_where_it_changes() -> None:
    root = read_xml(b'<a:r xmlns:a="u:a" xmlns="u:d"><a:c xmlns=""><a:d/></a:c></a:r>')
    assert canonical(root, ("",)) == (b'<a:r xmlns="u:d" xmlns:a="u:a"><a:c xmlns=""><a:d></a:d></a:c></a:r>')
    assert canonical(root) == b'<a:r xmlns:a="u:a"><a:c><a:d></a:d></a:c></a:r>'


def test_a_listed_namespace_from_around_the_element_is_written_with_it() -> None:
    root = read_xml(b'<r xmlns:xs="u:xs" xmlns:no="u:no"><c><d/></c></r>')
    assert canonical(root.children()[0], ("xs", "absent")) == b'<c xmlns:xs="u:xs"><d></d></c>'


def test_one_child_can_be_left_out_and_no_other_that_looks_like_it() -> None:
    root = read_xml(b"<a>1<b/>2<b/>3</a>")
    first, second = root.children()
    assert first == second
    assert canonical(root, without=first) == b"<a>12<b></b>3</a>"
    assert canonical(root, without=second) == b"<a>1<b></b>23</a>"


def test_what_was_written_is_read_as_the_same_again() -> None:
    for document in DOCUMENTS:
        written = canonical(read_xml(document))
        assert canonical(read_xml(written)) == written
