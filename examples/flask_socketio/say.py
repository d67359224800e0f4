"""Say something in a room of the chat, from a process that serves nobody.

QUEUE=redis://127.0.0.1:6379/0 python say.py lobby "good morning"
"""

import os
import sys

from flask_socketio import SocketIO

room, what = sys.argv[1:]
SocketIO(message_queue=os.environ["QUEUE"]).emit("said", what, to=room)
