"""A chat-completions server for tests, in a process of its own: `/good/v1` behaves, every other path misbehaves.

Prints its port, then serves until it is killed. `GET /asked/MODE` tells how often a mode was asked, and by which keys.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ASKED: dict[str, list[str]] = defaultdict(list)


def scenes(prompt: str, **changes: object) -> str:
    numbers = [int(number) for number in re.findall(r"<scene number=(\d+)>", prompt)]
    answer = {"narration": "A fox tells it anew.", "picture": "a fox under a tree", "place": "woods", "time": "night"}
    return json.dumps({"scenes": [{"number": number, **answer, **changes} for number in numbers]})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def say(self, content: object) -> None:
        self.reply(
            200, json.dumps({"choices": [{"message": {"content": content}}]}).encode(), Content_Type="application/json"
        )

    def do_GET(self) -> None:
        self.reply(200, json.dumps(ASKED[self.path.split("/")[2]]).encode())

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        mode, key = self.path.split("/")[1], self.headers.get("Authorization", "")
        ASKED[mode].append(key)
        times = len(ASKED[mode])
        prompt = request["messages"][1]["content"]
        good = scenes(prompt)
        if mode == "good":
            self.say(good)
        elif mode == "fenced":
            self.say(f"Here you are:\n```json\n{good}\n```")
        elif mode == "strict" and "response_format" in request:
            self.reply(400, b'{"error": {"message": "response_format is not supported"}}')
        elif mode == "strict":
            self.say(good)
        elif mode == "repaired":
            self.say(good if len(request["messages"]) == 4 else '{"scenes": "none"}')
        elif mode == "busy":
            self.reply(429, b"{}", Retry_After="0") if times < 3 else self.say(good)
        elif mode == "forever":
            self.reply(503, b"{}", Retry_After="999999")
        elif mode == "hang":
            time.sleep(30)
        elif mode == "dribble":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.1)
        elif mode == "html":
            self.reply(200, b"<!doctype html><title>Welcome</title>", Content_Type="text/html")
        elif mode == "garbage":
            self.reply(200, b"\xff\x00{]")
        elif mode == "deep":
            self.reply(200, b"[" * 100_000)
        elif mode == "huge":
            self.reply(200, b" " * 3_000_000)
        elif mode == "prose":
            self.say("I would rather not.")
        elif mode == "empty":
            self.say(scenes(prompt, narration="  ... "))
        elif mode == "endless":
            self.say(scenes(prompt, narration="word " * 700))
        elif mode == "miscounted":
            self.say(json.dumps({"scenes": json.loads(good)["scenes"] * 2}))
        elif mode == "foreign":
            self.say(scenes(prompt, picture="a fox on a zeppelin", place="moonbase", time="teatime", mood="rococo"))
        elif mode == "redirect":
            self.reply(307, b"", Location="http://example.invalid/v1/chat/completions")
        elif mode == "locked":
            self.reply(401, json.dumps({"error": {"message": f"bad key {key}"}}).encode())
        elif mode == "missing":
            self.reply(404, json.dumps({"error": {"message": f"no such model; you sent {key}"}}).encode())
        elif mode == "echo":
            self.say(scenes(prompt, narration=f"The fox says {key}."))
        elif mode == "null":
            self.say(None)
        elif mode == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices"')
            self.close_connection = True


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
