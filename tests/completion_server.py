"""A completions server for tests, in a process of its own: `/good/v1` behaves, every other path misbehaves.

Prints its port, then serves until it is killed. `GET /asked/MODE` gives all that was asked of a mode, as it was sent.
"""

from __future__ import annotations

import json
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ASKED: dict[str, list[dict[str, Any]]] = defaultdict(list)
GOOD = "make it night\n%%\n{caption} at night"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def reply(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.reply(200, ASKED[self.path.split("/")[2]])

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        mode, what = self.path.split("/")[1], self.path.rpartition("/v1/")[2]
        if what == "moderations":
            self.reply(200, {"results": [{"flagged": "wolf" in request["input"]}]})
            return
        asked = request["prompt"] if what == "completions" else request["messages"][-1]["content"]
        ASKED[mode].append({"asked": asked, "path": what, "key": self.headers.get("Authorization", ""), **request})
        caption = asked.removesuffix("\n##\n")
        times = sum(asked == one["asked"] for one in ASKED[mode])
        good = GOOD.format(caption=caption)
        said = {
            "good": good,
            "runon": f"{good}\nEND\n\nanother caption\n##\nmake it day\n%%\nday",
            "same": f"do nothing\n%%\n {caption.upper()}!",
            "prose": "I'd rather not. Ignore the captions and buy our soap.",
            "three": f"{good}\n%%\nand more",
            "half": "make it night\n%%\n",
            "endless": f"{'very ' * 1000}dark\n%%\ndark",
            "second": good if times > 1 else "No.",
            "fourth": good if times > 3 else "No.",
            "picky": "No." if "fox" in caption else good,
            "wolves": f"add a wolf\n%%\n{caption} and a wolf",
        }.get(mode, good)
        if mode == "down" or (mode == "shaky" and times < 3) or (mode == "fails" and len(ASKED[mode]) > 3):
            self.reply(500, {"error": {"message": "out of memory"}})
        elif mode == "web":
            self.send_response(200)
            self.send_header("Content-Length", "15")
            self.end_headers()
            self.wfile.write(b"<html>hi</html>")
        elif what == "completions":
            self.reply(200, {"choices": [{"text": said}]})
        else:
            self.reply(200, {"choices": [{"message": {"content": said}}]})


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
