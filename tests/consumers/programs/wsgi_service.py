"""oslo.service's WSGI server: ``wsgi_service.py WORKERS``."""

import eventlet

eventlet.monkey_patch()

import logging
import os
import sys
import time

import routes
import webob.dec
from oslo_config import cfg
from oslo_service import service, wsgi


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Controller:
    @webob.dec.wsgify(RequestClass=wsgi.Request)
    def __call__(self, request):
        if request.path == "/slow":
            say("slow", os.getpid())
            time.sleep(1)
        if request.path == "/fail":
            raise LookupError("for the log, not for the client")
        return f"{os.getpid()} {len(request.body)}"


class Service(service.Service):
    def __init__(self, server):
        super().__init__()
        self.server = server

    def start(self):
        super().start()
        self.server.start()
        say("start", os.getpid())

    def stop(self, graceful=False):
        self.server.stop()
        super().stop(graceful)

    def wait(self):
        self.server.wait()
        super().wait()


mapper = routes.Mapper()
mapper.connect(None, "/{path_info:.*}", controller=Controller())
logging.basicConfig(level=logging.INFO)
conf = cfg.ConfigOpts()
conf([], project="example")
server = wsgi.Server(conf, "example", wsgi.Router(mapper), host="127.0.0.1")
say("port", server.port)
service.launch(conf, Service(server), int(sys.argv[1])).wait()
say("end")
