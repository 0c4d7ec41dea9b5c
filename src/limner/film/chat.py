"""One question to a completions server: bounded in time and size, retried when it is busy, never redirected."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from limner.errors import BadInput, LimnerError

_BUSY = frozenset({429, 500, 502, 503, 504})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
RETELLING: Mapping[str, Any] = {"temperature": 0.3, "response_format": {"type": "json_object"}}


@dataclass(frozen=True)
class Limits:
    """Seconds to connect, to wait for the next bytes, and for one whole answer; bytes of an answer; how often a busy
    server is tried; the longest wait between tries that a server may ask for."""

    connect: float = 10.0
    read: float = 120.0
    total: float = 300.0
    size: int = 2_000_000
    tries: int = 4
    longest_wait: float = 30.0


class _Busy(Exception):
    def __init__(self, status: int, wait: float | None) -> None:
        self.status, self.wait = status, wait


class Chat:
    """Asks `model` at `url`. Raises BadInput for an address that can't be one.

    settings: of the sampling, sent along with every question
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str,
        limits: Limits,
        *,
        settings: Mapping[str, Any] = RETELLING,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.endpoint = endpoint_of(url)
        self.settings = dict(settings)
        self._model, self._key, self._limits, self._sleep = model, key.strip(), limits, sleep
        near = urlsplit(self.endpoint).hostname in _LOOPBACK  # a proxy has no business on the way to this machine
        self._client = httpx.Client(
            timeout=httpx.Timeout(limits.read, connect=limits.connect),
            limits=httpx.Limits(max_keepalive_connections=0),  # what idles is closed at any moment
            follow_redirects=False,
            trust_env=not near,
        )
        if re.search(r"[^\x21-\x7e]", self._key):
            raise BadInput("The writer's key holds spaces or other odd characters. Set LIMNER_WRITER_KEY again.")

    def ask(self, messages: Sequence[dict[str, str]]) -> str:
        """The text of the model's answer. Raises LimnerError with what happened and what to do."""
        return self._content(self._answer(self.endpoint, {"messages": list(messages)}))

    def complete(self, prompt: str) -> str:
        """How the model goes on with a prompt, at an address that ends in /completions. Raises as `ask`."""
        return self._content(self._answer(self.endpoint, {"prompt": prompt}))

    def flagged(self, text: str) -> bool:
        """Whether the server's moderation flags a text: /moderations beside the completions. Raises as `ask`."""
        endpoint = re.sub(r"(/chat)?/completions$", "/moderations", self.endpoint)
        data = self._answer(endpoint, {"input": text})
        try:
            return bool(json.loads(data)["results"][0]["flagged"])
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            raise self._failed("answered something that is no moderation", "Ask another for moderation") from None

    def _answer(self, endpoint: str, asked: Mapping[str, Any]) -> bytes:
        deadline = time.monotonic() + self._limits.total
        for tried in range(1, self._limits.tries + 1):
            try:
                return self._send(endpoint, asked, deadline)
            except _Busy as busy:
                wait = min(busy.wait if busy.wait is not None else 2.0 ** (tried - 1), self._limits.longest_wait)
                if tried == self._limits.tries or time.monotonic() + wait > deadline:
                    raise self._failed(
                        f"is busy or broken (status {busy.status}, tried {tried} times)", "Try again later"
                    ) from None
                self._sleep(wait)
        raise AssertionError("the last try either answers or raises")

    def _send(self, endpoint: str, asked: Mapping[str, Any], deadline: float) -> bytes:
        body = {**asked} if "input" in asked else {"model": self._model, **asked, **self.settings}
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        limits = self._limits
        try:
            with self._client.stream("POST", endpoint, json=body, headers=headers) as response:
                data = self._read(response, deadline)
                status, location = response.status_code, response.headers.get("location", "")
                wait = _wait_of(response.headers.get("retry-after", ""))
        except httpx.ConnectTimeout:
            raise self._failed(f"didn't accept a connection within {limits.connect:g} s", "Check the address") from None
        except httpx.TimeoutException:
            raise self._failed(f"said nothing for {limits.read:g} s", "Is its model loaded? Try again") from None
        except httpx.ConnectError:
            raise self._failed(
                "can't be reached (connection refused, or no such host)", "Start it or check the address"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise self._failed(f"broke off ({type(error).__name__})", "Try again") from None
        if status == 400 and "response_format" in self.settings and b"response_format" in data:
            del self.settings["response_format"]  # a server that doesn't take it
            return self._send(endpoint, asked, deadline)
        self._judge(status, location, wait, data)
        return data

    def _read(self, response: httpx.Response, deadline: float) -> bytes:
        data = b""
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) > self._limits.size:
                raise self._failed(
                    f"answered more than {self._limits.size:,} bytes", "This is no chat-completions answer"
                )
            if time.monotonic() > deadline:
                raise self._failed(f"wasn't done after {self._limits.total:g} s", "Try a faster model")
        return data

    def _judge(self, status: int, location: str, wait: float | None, data: bytes) -> None:
        if 300 <= status < 400:
            host = urlsplit(location).netloc or "another page"
            raise self._failed(
                f"wants to send the question on to {host}", "Redirects are refused; give the final address"
            )
        if status in (401, 403):
            raise self._failed(f"refused the key (status {status})", "Set LIMNER_WRITER_KEY to a valid key")
        if status in _BUSY:
            raise _Busy(status, wait)
        if status != 200:
            raise self._failed(
                f"refused the question (status {status}{self._reason(data)})", "Check --writer and --writer-model"
            )

    def _reason(self, data: bytes) -> str:
        """What a server says about its refusal, made safe to print: one short line without the key."""
        try:
            error = json.loads(data)["error"]
            text = error["message"] if isinstance(error, dict) else error
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        line = " ".join(re.sub(r"[^\x20-\x7e]", " ", self._without_key(str(text))).split())
        return f": {line[:200]}" if line else ""

    def _content(self, data: bytes) -> str:
        if data.lstrip()[:1] == b"<":
            raise self._failed("answered with a web page", "Give the address of its API, which often ends in /v1")
        try:
            choice = json.loads(data)["choices"][0]
            content = choice["message"]["content"] if "message" in choice else choice["text"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            raise self._failed(
                "answered something that is no completion", "Give the address of an OpenAI-compatible API"
            ) from None
        if not isinstance(content, str):
            raise self._failed("answered without text", "Try another --writer-model")
        return self._without_key(content)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    def _failed(self, what: str, advice: str) -> LimnerError:
        return LimnerError(f"The writer at {self.endpoint} {what}. {advice}, or leave out --writer to work offline.")


def endpoint_of(url: str) -> str:
    """The completions address of a server: `http://host:1234` and `https://host/v1` are those of its chat, and what
    ends in /completions is taken as it stands."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise BadInput(f"--writer {url!r} is no web address. Give one such as http://localhost:8080/v1.")
    if parts.username or parts.password:
        raise BadInput(
            "--writer holds a user name or password. Put the key into LIMNER_WRITER_KEY, and leave it out here."
        )
    path = parts.path.rstrip("/")
    if not path.endswith("/completions"):
        path = f"{path or '/v1'}/chat/completions"
    return parts._replace(path=path, fragment="").geturl()


def _wait_of(header: str) -> float | None:
    """The seconds that a `Retry-After` header asks for, as a number or a date; None when it asks for none."""
    if re.fullmatch(r"\d{1,6}(\.\d+)?", header.strip()):
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
