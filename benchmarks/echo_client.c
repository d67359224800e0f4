/* A light load client for the echo benchmark.
 *
 *     echo_client PORT CONNECTIONS WARMUP REQUESTS SIZE
 *
 * opens the connections, makes WARMUP requests, prints "ready", waits for a line on
 * standard input, makes REQUESTS requests, and prints the seconds that those took. Each
 * connection sends a message, waits for all of it to come back, and sends the next.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256

struct connection {
    int descriptor;
    size_t pending; /* bytes of the message that have not come back yet */
};

static struct connection *connections;
static int connection_count;
static char *message;
static size_t size;
static int poller;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void open_connections(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int index = 0; index < connection_count; index++) {
        struct connection *connection = &connections[index];
        int descriptor = socket(AF_INET, SOCK_STREAM, 0), on = 1;
        if (descriptor < 0
            || connect(descriptor, (struct sockaddr *)&address, sizeof address))
            fail("connect");
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connection->descriptor = descriptor;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event))
            fail("epoll_ctl");
    }
}

static void ask(struct connection *connection)
{
    /* A few bytes on a connection that has nothing under way: never a partial send. */
    if (send(connection->descriptor, message, size, 0) != (ssize_t)size)
        fail("send");
    connection->pending = size;
}

static double run(long requests)
{
    struct epoll_event events[EVENTS];
    char buffer[65536];
    long sent = 0, done = 0;
    double started = now();
    for (int index = 0; index < connection_count && sent < requests; index++, sent++)
        ask(&connections[index]);
    while (done < requests) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        if (ready < 0)
            fail("epoll_wait");
        for (int index = 0; index < ready; index++) {
            struct connection *connection = events[index].data.ptr;
            ssize_t got = recv(connection->descriptor, buffer, connection->pending, 0);
            if (got <= 0)
                fail("recv");
            if (memcmp(buffer, message + size - connection->pending, got)) {
                fputs("the server did not echo what was sent\n", stderr);
                exit(1);
            }
            connection->pending -= got;
            if (connection->pending)
                continue;
            done++;
            if (sent < requests) {
                ask(connection);
                sent++;
            }
        }
    }
    return now() - started;
}

int main(int argc, char **argv)
{
    char line[16];
    if (argc != 6) {
        fputs("usage: echo_client PORT CONNECTIONS WARMUP REQUESTS SIZE\n", stderr);
        return 2;
    }
    connection_count = atoi(argv[2]);
    size = atoi(argv[5]);
    connections = calloc(connection_count, sizeof *connections);
    message = malloc(size);
    poller = epoll_create1(0);
    if (!connections || !message || size > 65536 || poller < 0)
        fail("setup");
    for (size_t index = 0; index < size; index++)
        message[index] = 'a' + index % 26;
    open_connections(atoi(argv[1]));
    run(atol(argv[3]));
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        return 0;
    printf("%.9f\n", run(atol(argv[4])));
    return 0;
}
