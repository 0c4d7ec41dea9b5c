"""What made this file: a recipe, a machine-readable "made by AI" mark, and content credentials when asked.

Three layers, from the one that always works to the one that needs a certificate:

1. a recipe (JSON) inside the file and in a sidecar: enough to make it again;
2. the IPTC digital source type in XMP, the mark that search engines, agencies and regulators read;
3. C2PA content credentials, signed with the user's own certificate (extra `provenance`).

The first two can be removed by anyone who saves the file again, and say so by their absence only; the third shows
whether a file was changed since it was signed, and by whom it was signed, and nothing about truth.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from limner.errors import BadInput, BadPicture, MissingExtra

if TYPE_CHECKING:
    import numpy as np

SourceType = Literal[
    "trainedAlgorithmicMedia",  # made by a trained model
    "compositeWithTrainedAlgorithmicMedia",  # parts made by a trained model
    "compositeSynthetic",  # parts made by a program that was not trained, such as a formant voice or a drawn card
    "algorithmicMedia",  # made by a program alone
]
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"

_NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "limner": "urn:limner:ns#",
}
_JPEG_LIMIT = 65_000  # bytes of XMP that fit into one APP1 segment
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # XMP specification part 3: the uuid box of MP4
_LARGEST_PACKET = 16 << 20


@dataclass(frozen=True)
class Marks:
    """What a file says about itself. Empty fields: it doesn't say."""

    source_type: str = ""  # the last part of the IPTC term, e.g. "trainedAlgorithmicMedia"
    recipe: Mapping[str, Any] | None = None
    description: str = ""  # alt text
    tool: str = ""


def xmp_packet(source_type: SourceType, recipe: Mapping[str, Any] | None = None, description: str = "") -> bytes:
    """An XMP packet with the IPTC `DigitalSourceType`, the tool, the alt text and the recipe as JSON."""
    properties = [
        f"<Iptc4xmpExt:DigitalSourceType>{VOCABULARY}{source_type}</Iptc4xmpExt:DigitalSourceType>",
        "<xmp:CreatorTool>limner</xmp:CreatorTool>",
    ]
    if description:
        text = escape(_printable(description))
        properties.append(
            f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></dc:description>'
        )
    if recipe is not None:
        properties.append(f"<limner:recipe>{escape(json.dumps(recipe, sort_keys=True))}</limner:recipe>")
    names = " ".join(f'xmlns:{name}="{uri}"' for name, uri in _NAMESPACES.items() if name not in ("x", "rdf"))
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="{_NAMESPACES["x"]}"><rdf:RDF xmlns:rdf="{_NAMESPACES["rdf"]}">'
        f'<rdf:Description rdf:about="" {names}>{"".join(properties)}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def encode_picture(
    picture: np.ndarray, suffix: str, *, source_type: SourceType | None, recipe: Mapping[str, Any] | None = None,
    description: str = "", quality: int = 92,
) -> bytes:  # fmt: skip
    """A picture (H, W, 3) uint8 as a PNG, JPEG or WebP file (by `suffix`) that says what made it; a PNG may have
    opacity, (H, W, 4).

    `source_type=None` marks nothing: for pictures that a person made. A recipe too long for JPEG's 64 kB is left to the
    sidecar. PNG carries the recipe as the text `limner` too, which more programs keep than XMP.
    """
    from PIL import Image, PngImagePlugin

    image, file = Image.fromarray(picture), io.BytesIO()
    packet = xmp_packet(source_type, recipe, description) if source_type else None
    match suffix.lower():
        case ".png":
            info = PngImagePlugin.PngInfo()
            if packet:
                info.add_itxt("XML:com.adobe.xmp", packet.decode())
            if recipe is not None:
                info.add_itxt("limner", json.dumps(recipe, sort_keys=True))
            image.save(file, "PNG", pnginfo=info, compress_level=4)
        case ".jpg" | ".jpeg":
            if packet and source_type and len(packet) > _JPEG_LIMIT:
                packet = xmp_packet(source_type, None, description[:10_000])
            image.save(file, "JPEG", quality=quality, subsampling=0, **({"xmp": packet} if packet else {}))
        case ".webp":
            image.save(file, "WEBP", quality=quality, method=4, **({"xmp": packet} if packet else {}))
        case _:
            raise BadInput(f"Pictures are saved as .png, .jpg or .webp, not '{suffix}'. Change the file name.")
    return file.getvalue()


def mark_mp4(path: Path, source_type: SourceType, recipe: Mapping[str, Any], description: str = "") -> None:
    """Appends an XMP box to a finished MP4 file; players pass over it."""
    packet = xmp_packet(source_type, recipe, description)
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 24 + len(packet), b"uuid") + _XMP_BOX + packet)


def read_marks(path: Path) -> Marks:
    """What a PNG, JPEG, WebP or MP4 file says about itself. Raises `BadInput` if it is none of these."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise BadInput(f"{path} can't be read ({error.strerror}). Check the path.") from error
    if head[4:8] == b"ftyp":
        return _parse_packet(_mp4_packet(path))
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            if image.format == "PNG":
                image.load()  # text may follow the pixels
            packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
            text = image.info.get("limner")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadPicture(f"{path} is not a PNG, JPEG, WebP or MP4 file that can be read: {error}.") from error
    marks = _parse_packet(packet.encode() if isinstance(packet, str) else packet)
    if marks.recipe is None and isinstance(text, str):
        marks = Marks(marks.source_type, _recipe(text), marks.description, marks.tool)
    return marks


def write_sidecar(path: Path, record: Mapping[str, Any]) -> None:
    """Writes `record` as JSON for people and programs, atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(record, file, ensure_ascii=False, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _printable(text: str) -> str:
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)  # what XML 1.0 allows


def _recipe(text: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _parse_packet(packet: bytes) -> Marks:
    if not packet or b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:  # entities: no honest packet has them
        return Marks()
    try:
        root = ElementTree.fromstring(packet.strip(b"\0"))
    except (ElementTree.ParseError, ValueError, LookupError):
        return Marks()

    def text(name: str) -> str:
        prefix, _, tag = name.partition(":")
        full = f"{{{_NAMESPACES[prefix]}}}{tag}"
        for element in root.iter(f"{{{_NAMESPACES['rdf']}}}Description"):
            if full in element.attrib:  # XMP allows a simple property as an attribute
                return element.attrib[full]
            child = element.find(full)
            if child is not None:
                return "".join(child.itertext())
        return ""

    source = text("Iptc4xmpExt:DigitalSourceType").removeprefix(VOCABULARY)
    return Marks(source, _recipe(text("limner:recipe")), text("dc:description"), text("xmp:CreatorTool"))


def _mp4_packet(path: Path) -> bytes:
    """The XMP box among an MP4 file's outermost boxes."""
    total = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at + 8 <= total:
            file.seek(at)
            size, kind = struct.unpack(">I4s", file.read(8))
            header = 8
            if size == 1 and at + 16 <= total:
                size, header = struct.unpack(">Q", file.read(8))[0], 16
            size = total - at if size == 0 else size
            if size < header:
                return b""
            if kind == b"uuid" and file.read(16) == _XMP_BOX:
                return file.read(min(size - header - 16, _LARGEST_PACKET))
            at += size
    return b""


# Content credentials -------------------------------------------------------------------------------------------------

_ALGORITHMS = {  # the object identifier in a private key -> the C2PA name of the signature
    "2a8648ce3d030107": "es256",
    "2b81040022": "es384",
    "2b81040023": "es512",
    "2b6570": "ed25519",
    "2a864886f70d010101": "ps256",
}


@dataclass(frozen=True)
class Credentials:
    """The verdict on a file's content credentials."""

    intact: bool  # the file is as it was when it was signed
    trusted: bool  # the signer's certificate leads to a root on the trust list in use
    signer: str
    problems: tuple[str, ...]  # C2PA status codes, e.g. "assertion.dataHash.mismatch"
    source_type: str

    @property
    def sentence(self) -> str:
        """The verdict in words that claim no more than was checked."""
        who = f"'{self.signer}'" if self.signer else "an unnamed signer"
        if not self.intact:
            causes = ", ".join(code for code in self.problems if code != "signingCredential.untrusted")
            return f"The file was changed after {who} signed it, or its credentials are damaged ({causes})."
        if not self.trusted:
            return (
                f"The file is unchanged since it was signed, but nobody vouches for the name {who}: the certificate is "
                "on no trust list (signingCredential.untrusted), as with every certificate one makes oneself."
            )
        return f"The file is unchanged since {who} signed it, with a certificate from the trust list in use."


def check_signing(certificate: Path, key: Path) -> None:
    """Raises `BadInput` or `MissingExtra` at once if signing with these files could not work."""
    _c2pa()
    _read_pem(certificate, "CERTIFICATE")
    _algorithm(key)


def sign(
    source: Path, target: Path, *, certificate: Path, key: Path, title: str, source_type: SourceType,
    recipe: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Writes a copy of `source` (PNG, JPEG, WebP, MP4 or WAV) with signed content credentials to `target`.

    `certificate`: PEM, the leaf first, then the certificates that lead to its root. `key`: PEM, unencrypted PKCS#8. The
    leaf needs the key usage digitalSignature and an extended key usage that C2PA allows (emailProtection does).
    No thumbnail is embedded: it would double a picture's size. Raises `BadInput`, `MissingExtra`.
    """
    c2pa = _c2pa()
    chain = _read_pem(certificate, "CERTIFICATE")
    algorithm = _algorithm(key)
    action = {
        "action": "c2pa.created",
        "digitalSourceType": VOCABULARY + source_type,
        "softwareAgent": {"name": "limner"},
    }
    assertions: list[dict[str, Any]] = [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}]
    if recipe is not None:
        assertions.append({"label": "org.limner.recipe", "data": dict(recipe)})
    manifest = {"claim_generator_info": [{"name": "limner"}], "title": title, "assertions": assertions}
    target.unlink(missing_ok=True)
    try:
        info = c2pa.C2paSignerInfo(algorithm.encode(), chain, key.read_bytes(), None)
        context = c2pa.Context(c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}}))
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest, context) as builder:
            builder.sign_file(source, target, signer)
    except c2pa.C2paError as error:
        target.unlink(missing_ok=True)
        raise BadInput(
            f"{source.name} can't be signed with {certificate}: {error}. The chain must begin with a certificate for "
            "this key that allows digitalSignature and emailProtection, followed by its issuers."
        ) from error


def verify(path: Path) -> Credentials | None:
    """Checks a file's content credentials; None if it has none. Raises `BadInput`, `MissingExtra`."""
    c2pa = _c2pa()
    try:
        reader = c2pa.Reader.try_create(path)
        if reader is None:
            return None
        with reader:
            report = json.loads(reader.json())
    except c2pa.C2paError as error:
        raise BadInput(f"{path}: its content credentials can't be read: {error}.") from error
    manifest = report.get("manifests", {}).get(report.get("active_manifest"), {})
    problems = tuple(status["code"] for status in report.get("validation_status", []))
    actions = [
        action
        for assertion in manifest.get("assertions", [])
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"].get("actions", [])
    ]
    return Credentials(
        intact=report.get("validation_state") in ("Valid", "Trusted"),
        trusted=report.get("validation_state") == "Trusted",
        signer=(manifest.get("signature_info") or {}).get("common_name")
        or (manifest.get("signature_info") or {}).get("issuer", ""),
        problems=problems,
        source_type=next(
            (a["digitalSourceType"].removeprefix(VOCABULARY) for a in actions if "digitalSourceType" in a), ""
        ),
    )


def _c2pa() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise MissingExtra("Signing with content credentials", "provenance") from error
    return c2pa


def _read_pem(path: Path, kind: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path} can't be read ({error.strerror}). Content credentials need a PEM file there."
        ) from error
    if b"ENCRYPTED" in data:
        raise BadInput(f"{path} is encrypted. Give the key as unencrypted PKCS#8 PEM (openssl pkcs8 -topk8 -nocrypt).")
    if not re.search(rb"-----BEGIN [A-Z ]*" + kind.encode(), data):
        raise BadInput(f"{path} is not a PEM file with a {kind.lower()}. Convert it with openssl.")
    return data


def _algorithm(key: Path) -> str:
    """The C2PA signature algorithm that a private key makes."""
    data = _read_pem(key, "PRIVATE KEY")
    body = re.sub(rb"-----.*?-----|\s", b"", data)
    try:
        der = base64.b64decode(body, validate=True).hex()
    except ValueError as error:
        raise BadInput(f"{key} is damaged: its PEM text doesn't decode.") from error
    for identifier, name in _ALGORITHMS.items():
        if f"06{len(identifier) // 2:02x}{identifier}" in der:
            return name
    raise BadInput(f"{key}: content credentials need a P-256, P-384, P-521, Ed25519 or RSA key.")
