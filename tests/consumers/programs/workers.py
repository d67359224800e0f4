"""A service of oslo.service: ``workers.py WORKERS [RESTART_METHOD]``, with ``service.conf``."""

import eventlet

eventlet.monkey_patch()

import os
import sys

from oslo_config import cfg
from oslo_service import loopingcall, periodic_task, service

CONF = cfg.ConfigOpts()


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Tasks(periodic_task.PeriodicTasks):
    @periodic_task.periodic_task(spacing=0.1, run_immediately=True)
    def often(self, context):
        say("periodic", os.getpid(), context)

    @periodic_task.periodic_task(spacing=0.1)
    def failing(self, context):
        raise LookupError("it fails, and others go on")


class Example(service.Service):
    def start(self):
        super().start()
        say("start", os.getpid(), CONF.greeting, self.backdoor_port)
        self.tasks = Tasks(CONF)
        self.tg.add_timer(0.1, self.tasks.run_periodic_tasks, None, "ctx")
        self.tg.add_dynamic_timer(self.dynamic, periodic_interval_max=1)
        self.tg.add_thread(self.long)
        self.counted = 0
        self.looping = loopingcall.FixedIntervalLoopingCall(self.count)
        say("looped", os.getpid(), self.looping.start(interval=0.01).wait())
        backoff = loopingcall.BackOffLoopingCall(self.backing_off)
        say("backed", os.getpid(), backoff.start(starting_interval=0.01).wait())
        say("retried", os.getpid(), self.retried())

    def dynamic(self):
        say("dynamic", os.getpid())
        return 0.05

    def count(self):
        self.counted += 1
        if self.counted == 5:
            raise loopingcall.LoopingCallDone(self.counted)

    def backing_off(self):
        self.counted += 1
        if self.counted == 8:
            raise loopingcall.LoopingCallDone(self.counted)
        return False

    @loopingcall.RetryDecorator(
        max_retry_count=3, inc_sleep_time=0.01, exceptions=OSError
    )
    def retried(self):
        self.counted += 1
        if self.counted < 10:
            raise OSError("once more")
        return self.counted

    def long(self):
        try:
            eventlet.sleep(1000)
        finally:
            say("cleaned", os.getpid())

    def stop(self, graceful=False):
        say("stop", os.getpid())
        super().stop(graceful)

    def reset(self):
        super().reset()
        say("reset", os.getpid(), CONF.greeting)


CONF(["--config-file", "service.conf"], project="example")
CONF.register_opts([cfg.StrOpt("greeting", default="none", mutable=True)])
method = sys.argv[2] if len(sys.argv) > 2 else "reload"
say("parent", os.getpid())
launcher = service.launch(CONF, Example(), int(sys.argv[1]), restart_method=method)
say("module", eventlet.sleep.__module__)
launcher.wait()
say("end", os.getpid(), CONF.greeting)
