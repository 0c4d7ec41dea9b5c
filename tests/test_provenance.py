"""What a file says about itself can be read back, also by others' tools; the c2pa library checks the signatures."""

from __future__ import annotations

import datetime
import json
import struct
from pathlib import Path

import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from film_shapes import SMALL, Shapes
from limner.errors import BadInput
from limner.film.pipeline import make_film
from limner.film.prepare import FilmOptions
from limner.provenance import (
    VOCABULARY,
    encode_picture,
    mark_mp4,
    read_marks,
    sign,
    verify,
    write_sidecar,
    xmp_packet,
)

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
RECIPE = {"tool": "limner", "prompt": 'a <fox> & "crow"', "seed": 7}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_says_what_made_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a picture{suffix}"
    made = encode_picture(
        PICTURE, suffix, source_type="trainedAlgorithmicMedia", recipe=RECIPE, description="Füchse & 狐\x01"
    )
    path.write_bytes(made)
    marks = read_marks(path)
    assert marks.source_type == "trainedAlgorithmicMedia"
    assert marks.recipe == RECIPE
    assert marks.description == "Füchse & 狐\ufffd"
    assert (VOCABULARY + "trainedAlgorithmicMedia").encode() in made  # where other programs look for it
    with Image.open(path) as image:
        assert image.size == (64, 48)
        if suffix == ".png":
            assert np.array_equal(np.asarray(image), PICTURE)
            assert json.loads(image.text["limner"]) == RECIPE


def test_a_picture_that_a_person_made_is_not_marked(tmp_path: Path) -> None:
    (tmp_path / "own.png").write_bytes(encode_picture(PICTURE, ".png", source_type=None))
    assert read_marks(tmp_path / "own.png").source_type == ""


def test_a_recipe_too_long_for_jpeg_leaves_the_mark(tmp_path: Path) -> None:
    data = encode_picture(PICTURE, ".jpg", source_type="algorithmicMedia", recipe={"long": "x" * 70_000})
    (tmp_path / "a.jpg").write_bytes(data)
    assert (read_marks(tmp_path / "a.jpg").source_type, read_marks(tmp_path / "a.jpg").recipe) == (
        "algorithmicMedia",
        None,
    )


def test_other_kinds_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\.png"):
        encode_picture(PICTURE, ".bmp", source_type="algorithmicMedia")
    (tmp_path / "noise.png").write_bytes(b"noise")
    for path in (tmp_path / "noise.png", tmp_path / "none.png"):
        with pytest.raises(BadInput):
            read_marks(path)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), st.text())
def test_any_recipe_and_text_survive_xmp(recipe: dict[str, object], text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        path.write_bytes(struct.pack(">I4s4s", 12, b"ftyp", b"isom"))
        mark_mp4(path, "compositeSynthetic", recipe, text)
        marks = read_marks(path)
    assert marks.source_type == "compositeSynthetic"
    assert marks.recipe == recipe


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_a_hostile_mp4_says_nothing_and_harms_nothing(tail: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        path.write_bytes(struct.pack(">I4s4s", 12, b"ftyp", b"isom") + tail)
        assert read_marks(path).recipe is None


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + xmp_packet("algorithmicMedia", RECIPE)
    box = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
    (tmp_path / "a.mp4").write_bytes(
        struct.pack(">I4s4s", 12, b"ftyp", b"isom") + struct.pack(">I4s", 24 + len(bomb), b"uuid") + box + bomb
    )
    assert read_marks(tmp_path / "a.mp4").source_type == ""


def test_a_sidecar_replaces_the_old_one_whole(tmp_path: Path) -> None:
    write_sidecar(tmp_path / "a.json", {"title": "狐"})
    with pytest.raises(TypeError):
        write_sidecar(tmp_path / "a.json", {"title": object()})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"title": "狐"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, ca: bool
) -> x509.Certificate:
    def full(common: str) -> x509.Name:
        parts = ((NameOID.ORGANIZATION_NAME, "Test"), (NameOID.COMMON_NAME, common))
        return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts])

    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(full(name))
        .issuer_name(full(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(2090, 1, 1))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not ca:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate chain, key) of a maker whom nobody knows, ES256."""
    folder = tmp_path_factory.mktemp("chain")
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = certificate("Root", root_key, "Root", root_key, ca=True)
    leaf = certificate("A Maker", leaf_key, "Root", root_key, ca=False)
    pem = serialization.Encoding.PEM
    (folder / "chain.pem").write_bytes(leaf.public_bytes(pem) + root.public_bytes(pem))
    secret = leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)
    locked = leaf_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    (folder / "locked.pem").write_bytes(locked)
    return folder / "chain.pem", folder / "key.pem"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_signed_picture_is_verified_and_a_changed_one_is_not(
    tmp_path: Path, chain: tuple[Path, Path], suffix: str
) -> None:
    source, signed = tmp_path / f"a{suffix}", tmp_path / f"signed{suffix}"
    source.write_bytes(encode_picture(PICTURE, suffix, source_type="trainedAlgorithmicMedia", recipe=RECIPE))
    sign(
        source, signed, certificate=chain[0], key=chain[1], title="A fox", source_type="trainedAlgorithmicMedia",
        recipe=RECIPE,
    )  # fmt: skip
    assert verify(source) is None
    credentials = verify(signed)
    assert credentials is not None
    assert (credentials.intact, credentials.trusted, credentials.signer) == (True, False, "A Maker")
    assert credentials.problems == ("signingCredential.untrusted",)
    assert credentials.source_type == "trainedAlgorithmicMedia"
    assert "unchanged" in credentials.sentence and "nobody vouches" in credentials.sentence
    assert read_marks(signed).recipe == RECIPE
    assert signed.stat().st_size - source.stat().st_size < 6000  # no thumbnail

    with c2pa.Reader(signed) as reader:  # the library's own words
        assert reader.get_validation_state() == "Valid"
        assert reader.get_active_manifest()["signature_info"]["alg"] == "Es256"

    data = bytearray(signed.read_bytes())
    place = data.find(b"IDAT") + 100 if suffix == ".png" else len(data) // 2 if suffix == ".jpg" else 200
    data[place] ^= 1
    (tmp_path / f"changed{suffix}").write_bytes(data)
    changed = verify(tmp_path / f"changed{suffix}")
    assert changed is not None and not changed.intact
    assert "was changed" in changed.sentence


def test_a_signed_film_keeps_its_tracks(tmp_path: Path, chain: tuple[Path, Path]) -> None:
    import av

    (tmp_path / "story.txt").write_text("A fox sat. It slept.", "utf-8")
    options = FilmOptions(**SMALL, certificate=chain[0], key=chain[1])
    film = make_film(tmp_path / "story.txt", tmp_path / "film.mp4", options, illustrator=Shapes()).film
    credentials = verify(film)
    assert credentials is not None
    assert (credentials.intact, credentials.signer) == (True, "A Maker")
    assert read_marks(film).source_type == "trainedAlgorithmicMedia"
    with av.open(str(film)) as container:
        assert {"video", "audio", "subtitle"} <= {stream.type for stream in container.streams}
        assert len(container.chapters()) == 2
    assert make_film(tmp_path / "film.limner", illustrator=Shapes()).made == ()
    data = bytearray(film.read_bytes())
    data[data.find(b"mdat") + 500] ^= 1
    film.write_bytes(data)
    changed = verify(film)
    assert changed is not None and not changed.intact


def test_what_can_not_sign_is_refused_at_once(tmp_path: Path, chain: tuple[Path, Path]) -> None:
    (tmp_path / "story.txt").write_text("A fox sat.", "utf-8")
    (tmp_path / "text.pem").write_text("not a key")
    drawing = Shapes()
    for key, words in (
        (chain[1].with_name("locked.pem"), "encrypted"),
        (tmp_path / "text.pem", "PEM"),
        (tmp_path / "none.pem", "can't be read"),
    ):
        options = FilmOptions(**SMALL, certificate=chain[0], key=key)
        with pytest.raises(BadInput, match=words):
            make_film(tmp_path / "story.txt", tmp_path / "film.mp4", options, illustrator=drawing)
    assert drawing.calls == []
    other = ec.generate_private_key(ec.SECP256R1())
    alone = certificate("Alone", other, "Alone", other, ca=True)
    (tmp_path / "alone.pem").write_bytes(alone.public_bytes(serialization.Encoding.PEM))
    source = tmp_path / "a.png"
    source.write_bytes(encode_picture(PICTURE, ".png", source_type="algorithmicMedia"))
    with pytest.raises(BadInput, match="digitalSignature"):
        sign(
            source, tmp_path / "b.png", certificate=tmp_path / "alone.pem", key=chain[1], title="",
            source_type="algorithmicMedia",
        )  # fmt: skip
    assert not (tmp_path / "b.png").exists()
