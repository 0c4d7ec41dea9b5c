"""eSpeak NG through ctypes, one request per process: JSON on standard input, a JSON line and 16-bit PCM on standard
output.

Run as a script by `limner.film.voice`, with nothing but the standard library, so that it starts in milliseconds.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

_SYNCHRONOUS, _DONT_EXIT = 2, 0x8000
_CHARACTERS, _UTF8, _RATE = 1, 1, 1
_WORD, _CLAUSE_END = 1, 5


class _Identity(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Identity),
    )


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        (
            "languages",
            ctypes.POINTER(ctypes.c_ubyte),
        ),  # pairs of a priority byte and a zero-terminated tag, then a zero
        ("identifier", ctypes.c_char_p),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def _languages(packed: Any) -> Iterator[tuple[int, str]]:
    i = 0
    while packed[i]:
        priority, tag = packed[i], bytearray()
        i += 1
        while packed[i]:
            tag.append(packed[i])
            i += 1
        i += 1
        yield priority, tag.decode()


def _voices(library: ctypes.CDLL) -> list[dict[str, Any]]:
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    listed = library.espeak_ListVoices(None)
    voices = []
    i = 0
    while listed[i]:
        voice = listed[i].contents
        tags = list(_languages(voice.languages))
        voices.append({"name": voice.name.decode(), "file": voice.identifier.decode(), "languages": tags})
        i += 1
    return voices


def _speak(library: ctypes.CDLL, voice: str, text: str, pace: int) -> tuple[list[tuple[int, int]], bytes]:
    """Events (character position from 0, sample) of words and clause ends, and the sound."""
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise SystemExit(f"no voice {voice}")
    library.espeak_SetParameter(_RATE, pace, 0)
    sound = bytearray()
    events: list[tuple[int, int]] = []

    def receive(samples: Any, count: int, event: Any) -> int:
        if count > 0:
            sound.extend(ctypes.string_at(samples, 2 * count))
        i = 0
        while event[i].type:
            if event[i].type in (_WORD, _CLAUSE_END):
                events.append((event[i].text_position - (event[i].type == _WORD), event[i].sample))
            i += 1
        return 0

    callback = _Callback(receive)
    library.espeak_SetSynthCallback(callback)
    data = text.encode()
    library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, _CHARACTERS, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    return events, bytes(sound)


def main() -> None:
    request = json.load(sys.stdin)
    library = ctypes.CDLL(request["library"])
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(request["data"]), _DONT_EXIT)
    if rate <= 0:
        raise SystemExit("the library could not be started")
    answer: dict[str, Any] = {"rate": rate}
    sound = b""
    if request.get("list"):
        answer["voices"] = _voices(library)
    else:
        answer["events"], sound = _speak(library, request["voice"], request["text"], request["pace"])
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + sound)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
