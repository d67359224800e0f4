"""A site whose pages are slow: what the tutorial's crawlers fetch.

    python examples/tutorial/site.py [port]

Page N takes N tenths of a second, up to nine, and one page does not exist.
"""

import sys

import greenio


def serve_page(connection, _address):
    with connection, connection.makefile("rb") as requests:
        _method, path, _version = requests.readline().split()
        while requests.readline().strip():
            pass
        page = path.decode().lstrip("/")
        if not page.isdigit():
            connection.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")
            return
        greenio.sleep(int(page) % 10 / 10)
        body = f"<title>Page {page}</title>\n".encode() * 100
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + body)


def main(port="8000"):
    listener = greenio.listen(("127.0.0.1", int(port)))
    print(f"serving on port {listener.getsockname()[1]}", flush=True)
    greenio.serve(listener, serve_page)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
