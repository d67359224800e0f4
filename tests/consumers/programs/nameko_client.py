"""A client of the services of nameko: ``nameko_client.py URL PREFIX``."""

import eventlet

eventlet.monkey_patch()

import sys

from nameko.exceptions import RemoteError, UnknownService
from nameko.standalone.rpc import ClusterRpcProxy, ServiceRpcProxy

config = {"AMQP_URI": sys.argv[1]}
with ClusterRpcProxy(config, timeout=60) as cluster:
    assert cluster.outer.quadruple(21) == 84
    for number in range(100):
        assert cluster.inner.double(number) == 2 * number
    assert cluster.outer.many(50) == [2 * n for n in range(50)]
    try:
        cluster.inner.fail("from afar")
    except RemoteError as error:
        assert (error.exc_type, error.value) == ("LookupError", "from afar")
    else:
        raise AssertionError("no error")
    try:
        cluster.nobody.call()
    except UnknownService:
        pass
    else:
        raise AssertionError("no error")
    naps = [cluster.inner.nap.call_async(0.5) for _ in range(10)]
    assert max(each.result() for each in naps) == 10


def one(number):
    with ServiceRpcProxy("inner", config, timeout=60) as inner:
        return inner.double(number)


# A proxy for each green thread.
pool = eventlet.GreenPool(10)
assert list(pool.imap(one, range(20))) == [2 * n for n in range(20)]
print("done")
