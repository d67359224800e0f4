"""A Flask-SocketIO service for the tests: one file, for eventlet and for greenio."""

import eventlet

eventlet.monkey_patch()

import os
import sys
import time
from pathlib import Path

from flask import Flask, request, session
from flask_socketio import Namespace, SocketIO, disconnect, emit, join_room, leave_room

app = Flask(__name__)
app.secret_key = "nothing that is kept"
socketio = SocketIO(
    app,
    async_mode="eventlet",
    message_queue=os.environ.get("TEST_QUEUE") or None,
    channel=os.environ.get("TEST_CHANNEL") or "flask-socketio",
    cors_allowed_origins="*",
    ping_interval=float(os.environ.get("TEST_PING_INTERVAL") or 25),
    ping_timeout=float(os.environ.get("TEST_PING_TIMEOUT") or 20),
    max_http_buffer_size=200_000,
)


@app.route("/")
def index():
    return f"{os.getpid()} {eventlet.sleep.__module__} {socketio.async_mode}"


@app.route("/tell/<room>/<text>")
def tell(room, text):
    socketio.emit("told", {"text": text, "by": os.getpid()}, to=room)
    return "told"


@app.route("/client.js")
def script():
    text = Path(os.environ["TEST_CLIENT_JS"]).read_text("utf-8")
    return text, {"Content-Type": "text/javascript"}


@app.route("/page")
def page():
    return Path(os.environ["TEST_PAGE"]).read_text("utf-8")


@app.route("/says", methods=["POST"])
def says():
    print("the page says", request.get_data(as_text=True), flush=True)
    return ""


@socketio.on("connect")
def connected(auth):
    if "token" in (auth or {}):
        return False
    session["name"] = (auth or {}).get("name", "nobody")
    emit("welcome", {"name": session["name"], "pid": os.getpid()})
    return None


@socketio.on("disconnect")
def disconnected(reason):
    socketio.emit("left", {"name": session["name"], "reason": reason}, to="watchers")


@socketio.on("echo")
def echo(data):
    return data


@socketio.on("who")
def who():
    return [session["name"], socketio.server.transport(request.sid)]


@socketio.on("slow")
def slow(seconds):
    time.sleep(seconds)
    return seconds


@socketio.on("fail")
def fail():
    raise ValueError("on purpose")


@socketio.on_error_default
def failed(error):
    return f"{type(error).__name__}: {error}"


@socketio.on("join")
def join(room):
    join_room(room)
    return room


@socketio.on("leave")
def leave(room):
    leave_room(room)
    return room


@socketio.on("say")
def say(room, what):
    emit("said", (session["name"], what), to=room, include_self=False)


@socketio.on("count")
def count(number):
    sid = request.sid

    def counting():
        for each in range(number):
            socketio.sleep(0.01)
            socketio.emit("number", each, to=sid)

    socketio.start_background_task(counting)
    return number


@socketio.on("ask me")
def ask():
    sid = request.sid

    def asking():
        answer = socketio.call("question", "how much?", to=sid, timeout=20)
        socketio.emit("answered", answer, to=sid)

    socketio.start_background_task(asking)


@socketio.on("throw me out")
def throw_out():
    disconnect()


class Blobs(Namespace):
    """Binary data, in a namespace of its own."""

    def on_reverse(self, blob, more):
        assert isinstance(blob, bytes)
        return {"blob": blob[::-1], "more": [more, b"end"]}

    def on_many(self, number, size):
        for each in range(number):
            emit("blob", bytes([each % 256]) * size)
        return number


socketio.on_namespace(Blobs("/blobs"))


if __name__ == "__main__":
    options = {}
    if len(sys.argv) > 2:
        options = {"certfile": sys.argv[2], "keyfile": sys.argv[3]}
    socketio.run(app, port=int(sys.argv[1]), **options)
