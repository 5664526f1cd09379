/* A TLS client: stdin goes to the server, and what the server says goes to stdout.
 *
 * usage: CLIENT HOST PORT VERSION SUITE IDENTITY KEY [groups=N,N...] [name=SNI] [protocol=ALPN]
 *               [mode=psk_ke] [update=BYTES]
 *
 * At the end of stdin it sends close_notify, and goes on reading until the server's own close_notify.
 * With "update" it renews the keys of both sides whenever it has sent so many bytes. Exit status: 0 if
 * all of that went well. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

static void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(2);
}

static void give_up(void) {
    tls_complain();
    exit(1);
}

static int dial(const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *address;
    if (getaddrinfo(host, port, &hints, &address) != 0)
        die("getaddrinfo");
    int fd = socket(address->ai_family, address->ai_socktype, address->ai_protocol);
    if (fd < 0 || connect(fd, address->ai_addr, address->ai_addrlen) != 0)
        die("connect");
    freeaddrinfo(address);
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        die("fcntl");
    return fd;
}

static void read_key(struct wish *wish, const char *digits) {
    size_t length = strlen(digits) / 2;
    if (length > sizeof wish->key)
        die("key");
    for (size_t i = 0; i < length; i++) {
        unsigned byte;
        if (sscanf(digits + 2 * i, "%2x", &byte) != 1)
            die("key");
        wish->key[i] = (unsigned char)byte;
    }
    wish->key_length = length;
}

/* Bytes between two updates of the keys; 0: none. */
static size_t update_after;

static void read_option(struct wish *wish, char *option) {
    char *value = strchr(option, '=');
    if (value == NULL)
        die(option);
    *value++ = '\0';
    if (strcmp(option, "groups") == 0) {
        for (char *group = strtok(value, ","); group != NULL; group = strtok(NULL, ","))
            if (wish->group_count < 8)
                wish->groups[wish->group_count++] = atoi(group);
    } else if (strcmp(option, "name") == 0) {
        wish->name = value;
    } else if (strcmp(option, "protocol") == 0) {
        wish->protocol = value;
    } else if (strcmp(option, "mode") == 0) {
        wish->only_psk_ke = strcmp(value, "psk_ke") == 0;
    } else if (strcmp(option, "update") == 0) {
        update_after = strtoul(value, NULL, 10);
    } else {
        die(option);
    }
}

/* Repeats a step until it is done. */
static void complete(int fd, int (*step)(void)) {
    int result;
    while ((result = step()) != 0) {
        if (result == FAILED)
            give_up();
        struct pollfd socket = {.fd = fd, .events = result == WAIT_WRITE ? POLLOUT : POLLIN};
        if (poll(&socket, 1, -1) < 0)
            die("poll");
    }
}

static void print(const char *bytes, int length) {
    for (int printed = 0; printed < length;) {
        ssize_t n = write(STDOUT_FILENO, bytes + printed, (size_t)(length - printed));
        if (n < 0)
            die("stdout");
        printed += (int)n;
    }
}

/* Prints what has come. Returns whether the server has ended its side. */
static int receive(void) {
    static char bytes[16384];
    int n;
    while ((n = tls_read(bytes, sizeof bytes)) > 0)
        print(bytes, n);
    if (n == FAILED)
        give_up();
    return n == 0;
}

/* What goes to the server. */
static struct {
    char bytes[16384];
    size_t sent, length;
    size_t since_update;
    enum { OPEN, ENDING, ENDED } state;
} ours;

/* Sends what there is. Returns WAIT_WRITE if the server has to read first. */
static int send_ours(void) {
    while (ours.sent < ours.length) {
        if (update_after != 0 && ours.since_update >= update_after) {
            int result = tls_update_keys();
            if (result != 0)
                return result;
            ours.since_update = 0;
        }
        int result = tls_write(ours.bytes + ours.sent, ours.length - ours.sent);
        if (result < 0)
            return result;
        ours.sent += (size_t)result;
        ours.since_update += (size_t)result;
    }
    if (ours.state == ENDING) {
        int result = tls_close_notify();
        if (result != 0)
            return result;
        ours.state = ENDED;
    }
    return 0;
}

static void read_stdin(void) {
    ssize_t n = read(STDIN_FILENO, ours.bytes, sizeof ours.bytes);
    if (n < 0)
        die("stdin");
    ours.sent = 0;
    ours.length = (size_t)n;
    if (n == 0)
        ours.state = ENDING;
}

/* Both directions, each until its end. */
static void copy(int fd) {
    while (!receive()) {
        int result = send_ours();
        if (result == FAILED)
            give_up();
        int idle = result == 0 && ours.state == OPEN;
        struct pollfd polled[2] = {
            {.fd = fd, .events = result == WAIT_WRITE ? POLLIN | POLLOUT : POLLIN},
            {.fd = idle ? STDIN_FILENO : -1, .events = POLLIN},
        };
        if (poll(polled, 2, -1) < 0)
            die("poll");
        if (polled[1].revents != 0)
            read_stdin();
    }
    if (ours.state != ENDED)
        complete(fd, tls_close_notify);
}

int main(int argc, char **argv) {
    static struct wish wish;
    if (argc < 7)
        die("usage");
    signal(SIGPIPE, SIG_IGN);
    wish.version = atoi(argv[3]);
    wish.suite = argv[4];
    wish.identity = argv[5];
    read_key(&wish, argv[6]);
    for (int i = 7; i < argc; i++)
        read_option(&wish, argv[i]);

    int fd = dial(argv[1], argv[2]);
    if (tls_open(fd, &wish) != 0) {
        tls_complain();
        return 2;
    }
    complete(fd, tls_handshake);
    tls_report();
    copy(fd);
    return 0;
}
