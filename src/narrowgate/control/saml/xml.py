"""XML as SAML needs it: read strictly into values, and written in the one form that signatures are made over.

The reader takes no DTD, so there are no entities, nothing is fetched and nothing grows; it takes no processing
instruction, and a comment only where it is told to skip them. The writer is Exclusive XML Canonicalization 1.0 without
comments (https://www.w3.org/TR/xml-exc-c14n/). Whoever checks a signature writes, checks, and then reads what was
written (`signature`): thus a mistake in the writer could refuse a good message, never let a bad one pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from xml.parsers import expat

import msgspec

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"
METADATA = "urn:oasis:names:tc:SAML:2.0:metadata"
SIGNATURE = "http://www.w3.org/2000/09/xmldsig#"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
XML = "http://www.w3.org/XML/1998/namespace"

MOST_BYTES = 256 << 10
"""Of one message: a response with the most groups that anybody may have is under 40 KB."""

MOST_ELEMENTS = 2_000
"""Of one document: the same response has some 400, a provider's metadata under 200. The worst that fits takes 0.1 s."""

DEEPEST = 64
"""Elements inside one another; a SAML response has twelve."""

MOST_PREFIXES = 64
"""Namespace prefixes known in one place; a SAML response has six."""

_SEPARATOR = "\x1f"
"""Between the parts of a name that the parser reports. XML 1.0 has no such character, so no name can hold it."""

_TEXT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"})
_ATTRIBUTE_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"}
)
"""Section 2.3 of Canonical XML 1.0, "Text Nodes" and "Attribute Nodes"."""


class SAMLRefused(Exception):
    """A message or document that is not believed; the text is one clause that says why, worded for the reader."""


class Attribute(msgspec.Struct, frozen=True):
    """One attribute; namespace declarations are none."""

    namespace: str
    name: str
    prefix: str
    value: str


class Element(msgspec.Struct, frozen=True):
    """One element with everything in it."""

    namespace: str
    name: str
    prefix: str
    attributes: tuple[Attribute, ...]
    scope: Mapping[str, str]
    """The namespaces that are known here, by prefix; the default one under the empty prefix."""
    content: tuple[Element | str, ...]

    def attribute(self, name: str) -> str | None:
        """The value of the attribute without a namespace; None where there is none."""
        return next((one.value for one in self.attributes if one.name == name and not one.namespace), None)

    def children(self) -> tuple[Element, ...]:
        """The elements directly in this one."""
        return tuple(part for part in self.content if isinstance(part, Element))

    def named(self, namespace: str, name: str) -> tuple[Element, ...]:
        """Those of them that have this name."""
        return tuple(child for child in self.children() if child.is_named(namespace, name))

    def is_named(self, namespace: str, name: str) -> bool:
        """Whether this is such an element."""
        return (self.namespace, self.name) == (namespace, name)

    def text(self) -> str:
        """The whole text. Raises SAMLRefused where there are elements in between: parts of a name are not a name."""
        if self.children():
            raise SAMLRefused(f'"{self.name}" holds elements where only text belongs')
        return "".join(part for part in self.content if isinstance(part, str))

    def walk(self) -> Iterator[Element]:
        """Itself and all elements below it, in the order of the document."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting.extend(reversed(element.children()))


class _Open(msgspec.Struct):
    """An element whose end has not come yet."""

    namespace: str
    name: str
    prefix: str
    attributes: tuple[Attribute, ...]
    scope: Mapping[str, str]
    content: list[Element | str]


class _Builder:
    """What the parser reports, put together."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[_Open] = []
        self._declared: dict[str, str] = {}
        self._count = 0

    def declared(self, prefix: str | None, uri: str | None) -> None:
        """A namespace declaration of the element that begins next."""
        self._declared[prefix or ""] = uri or ""

    def begun(self, name: str, attributes: list[str]) -> None:
        self._count += 1
        if self._count > MOST_ELEMENTS:
            raise SAMLRefused(f"it has more than {MOST_ELEMENTS} elements")
        if len(self._open) >= DEEPEST:
            raise SAMLRefused(f"its elements are nested more than {DEEPEST} deep")
        scope = self._open[-1].scope if self._open else {}
        if self._declared:
            # A declaration without an address takes the default namespace away (Namespaces in XML 1.0, 6.2).
            scope = {prefix: uri for prefix, uri in ({**scope, **self._declared}).items() if uri}
            self._declared = {}
            if len(scope) > MOST_PREFIXES:
                raise SAMLRefused(f"it uses more than {MOST_PREFIXES} namespace prefixes in one place")
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        self._open.append(
            _Open(*_parts(name), tuple(Attribute(*_parts(key), value) for key, value in pairs), scope, [])
        )

    def text(self, data: str) -> None:
        if self._open:
            self._open[-1].content.append(data)

    def ended(self, _name: str) -> None:
        done = self._open.pop()
        element = Element(
            done.namespace, done.name, done.prefix, done.attributes, done.scope, tuple(_joined(done.content))
        )
        if self._open:
            self._open[-1].content.append(element)
        else:
            self.root = element


def read_xml(document: bytes, *, most_bytes: int = MOST_BYTES, skip_comments: bool = False) -> Element:
    """The root element of an XML 1.0 document in UTF-8. Raises SAMLRefused."""
    if len(document) > most_bytes:
        raise SAMLRefused(f"it is larger than {most_bytes} bytes")
    _check_encoding(document)
    builder = _Builder()
    parser = expat.ParserCreate("utf-8", _SEPARATOR)
    parser.namespace_prefixes = True
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.XmlDeclHandler = _check_declaration
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.ProcessingInstructionHandler = _refuse_instruction
    if not skip_comments:
        parser.CommentHandler = _refuse_comment
    parser.StartNamespaceDeclHandler = builder.declared
    parser.StartElementHandler = builder.begun
    parser.EndElementHandler = builder.ended
    parser.CharacterDataHandler = builder.text
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise SAMLRefused(f"it is not XML (line {error.lineno}: {expat.ErrorString(error.code)})") from None
    if builder.root is None:
        raise SAMLRefused("it is not XML")
    return builder.root


def canonical(element: Element, inclusive: Collection[str] = (), without: Element | None = None) -> bytes:
    """`element` in exclusive canonical form, but for `without`, one of its children.

    `inclusive` are the prefixes of an InclusiveNamespaces list; the empty one stands for `#default`.
    """
    written: list[str] = []
    _write(element, frozenset(inclusive), {}, without, written)
    return "".join(written).encode()


def _write(
    element: Element, inclusive: frozenset[str], rendered: Mapping[str, str], without: Element | None, out: list[str]
) -> None:
    used = {element.prefix} | {one.prefix for one in element.attributes if one.prefix} | inclusive
    fresh = {
        prefix: uri
        for prefix in used - {"xml"}
        if (uri := element.scope.get(prefix, "")) != rendered.get(prefix, "")
        # Only the default namespace can be taken away again; a listed prefix may simply be unknown here.
        and (uri or not prefix)
    }
    called = f"{element.prefix}:{element.name}" if element.prefix else element.name
    out.append(f"<{called}")
    for prefix, uri in sorted(fresh.items()):
        out.append(f' xmlns{":" if prefix else ""}{prefix}="{uri.translate(_ATTRIBUTE_ESCAPES)}"')
    for one in sorted(element.attributes, key=lambda attribute: (attribute.namespace, attribute.name)):
        name = f"{one.prefix}:{one.name}" if one.prefix else one.name
        out.append(f' {name}="{one.value.translate(_ATTRIBUTE_ESCAPES)}"')
    out.append(">")
    inner = {**rendered, **fresh} if fresh else rendered
    for part in element.content:
        if isinstance(part, str):
            out.append(part.translate(_TEXT_ESCAPES))
        elif part is not without:
            _write(part, inclusive, inner, None, out)
    out.append(f"</{called}>")


def _parts(reported: str) -> tuple[str, str, str]:
    """Namespace, name and prefix of a name as the parser reports it: name, or namespace and name, or all three."""
    parts = reported.split(_SEPARATOR)
    match len(parts):
        case 1:
            return "", parts[0], ""
        case 2:
            return parts[0], parts[1], ""
        case _:
            return parts[0], parts[1], parts[2]


def _joined(content: list[Element | str]) -> Iterator[Element | str]:
    """Text that was reported in pieces (a comment between, a long run) as one piece."""
    text: list[str] = []
    for part in content:
        if isinstance(part, str):
            text.append(part)
            continue
        if text:
            yield "".join(text)
            text.clear()
        yield part
    if text:
        yield "".join(text)


def _check_encoding(document: bytes) -> None:
    """The parser would turn to UTF-16 by itself where it sees its marks: another reading of the same bytes."""
    try:
        document.decode("utf-8")
    except UnicodeDecodeError:
        raise SAMLRefused("it is not XML 1.0 in UTF-8") from None
    if b"\0" in document:
        raise SAMLRefused("it is not XML 1.0 in UTF-8")


def _check_declaration(version: str, encoding: str | None, _standalone: int) -> None:
    if version != "1.0" or (encoding or "utf-8").lower() != "utf-8":
        raise SAMLRefused("it is not XML 1.0 in UTF-8")


def _refuse_doctype(*_told: object) -> None:
    raise SAMLRefused("it has a document type declaration, which SAML messages never have")


def _refuse_instruction(*_told: object) -> None:
    raise SAMLRefused("it has a processing instruction, which SAML messages never have")


def _refuse_comment(*_told: object) -> None:
    raise SAMLRefused("it has a comment, which could hide part of a name")
