"""A chat with rooms on Flask-SocketIO, in eventlet's words.

    python -m greenio chat.py

The environment may say where it listens (PORT) and which message queue it shares with other
processes (QUEUE, such as redis://127.0.0.1:6379/0).
"""

import os

import eventlet

eventlet.monkey_patch()

from flask import Flask, request
from flask_socketio import SocketIO, emit, join_room

app = Flask(__name__)
socketio = SocketIO(
    app, async_mode="eventlet", message_queue=os.environ.get("QUEUE") or None
)

PAGE = """<!doctype html>
<title>Chat</title>
<script src="https://cdn.socket.io/4.8.1/socket.io.min.js"></script>
<form onsubmit="socket.emit('say', 'lobby', this.what.value); this.reset(); return false">
<input name="what" autofocus> <button>Say</button></form><ul id="said"></ul>
<script>
const socket = io();
socket.on("connect", () => socket.emit("join", "lobby"));
socket.on("said", what => {
  const item = document.createElement("li");
  item.textContent = what;
  said.append(item);
});
</script>
"""


@app.route("/")
def page():
    return PAGE


@socketio.on("join")
def join(room):
    join_room(room)
    emit("said", f"{request.sid[:4]} has come", to=room)
    return room


@socketio.on("say")
def say(room, what):
    emit("said", f"{request.sid[:4]}: {what}", to=room)


def tell_the_time():
    while True:
        socketio.sleep(60)
        socketio.emit("said", "another minute has passed", to="lobby")


socketio.start_background_task(tell_the_time)

if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT") or 5000))
