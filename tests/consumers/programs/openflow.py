"""os-ken's OpenFlow controller with a learning app, and its hub: ``openflow.py PORT``."""

import eventlet

eventlet.monkey_patch()

import os
import socket
import sys

os.environ["OSKEN_HUB_TYPE"] = "eventlet"

from os_ken.lib import hub

hub.patch()

from os_ken import cfg
from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import (
    CONFIG_DISPATCHER,
    DEAD_DISPATCHER,
    MAIN_DISPATCHER,
    set_ev_cls,
)
from os_ken.lib.packet import ethernet, packet
from os_ken.ofproto import ofproto_v1_3


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Learning(app_manager.OSKenApp):
    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.ports = {}

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def features(self, event):
        say("features", event.msg.datapath_id)

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def state(self, event):
        say("main" if event.state == MAIN_DISPATCHER else "dead", event.datapath.id)

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def packet_in(self, event):
        message = event.msg
        path = message.datapath
        frame = packet.Packet(message.data).get_protocol(ethernet.ethernet)
        port = message.match["in_port"]
        self.ports[path.id, frame.src] = port
        out = self.ports.get((path.id, frame.dst), path.ofproto.OFPP_FLOOD)
        parser = path.ofproto_parser
        actions = [parser.OFPActionOutput(out)]
        if out != path.ofproto.OFPP_FLOOD:
            apply = path.ofproto.OFPIT_APPLY_ACTIONS
            path.send_msg(
                parser.OFPFlowMod(
                    datapath=path,
                    priority=1,
                    match=parser.OFPMatch(in_port=port, eth_dst=frame.dst),
                    instructions=[parser.OFPInstructionActions(apply, actions)],
                )
            )
        path.send_msg(
            parser.OFPPacketOut(
                datapath=path,
                buffer_id=path.ofproto.OFP_NO_BUFFER,
                in_port=port,
                actions=actions,
                data=message.data,
            )
        )


def hub_by_itself():
    """What applications use of `os_ken.lib.hub`."""
    event, queue, lock = hub.Event(), hub.Queue(1), hub.Semaphore(1)
    assert event.wait(timeout=0.01) is False
    waiting = [hub.spawn(event.wait) for _ in range(5)]
    later = hub.spawn_after(0.01, event.set)
    hub.joinall([*waiting, later])
    assert event.is_set()
    consumer = hub.spawn(lambda: [queue.get() for _ in range(20)])
    for number in range(20):
        queue.put(number)
    assert consumer.wait() == [*range(20)]
    with lock:
        assert not lock.acquire(blocking=False)
    try:
        with hub.Timeout(0.01):
            hub.sleep(10)
        raise AssertionError("no time-out")
    except hub.Timeout:
        pass
    failing = hub.spawn(lambda: 1 / 0)
    hub.joinall([failing])
    failing = hub.spawn(lambda: 1 / 0, raise_error=True)
    try:
        failing.wait()
        raise AssertionError("no error")
    except ZeroDivisionError:
        pass
    killed = hub.spawn(hub.sleep, 1000)
    hub.sleep(0)
    hub.kill(killed)
    hub.joinall([killed])

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"os-ken"]

    server = hub.WSGIServer(("127.0.0.1", 0), app)
    serving = hub.spawn(server.serve_forever)
    with socket.create_connection(server.server.getsockname()) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.endswith(b"os-ken"), answer
    hub.kill(serving)
    hub.joinall([serving])
    say("hub", type(waiting[0]).__module__.split(".")[0])


hub_by_itself()
cfg.CONF(
    ["--ofp-tcp-listen-port", sys.argv[1], "--ofp-listen-host", "127.0.0.1"],
    project="example",
)
cfg.CONF.set_override("echo_request_interval", 0.2)
cfg.CONF.set_override("maximum_unreplied_echo_requests", 1000)
say("ready")
app_manager.AppManager.run_apps(["__main__", "os_ken.controller.ofp_handler"])
