/* What a client in C is asked to do, and what its TLS library has to be able to do. */
#ifndef PEER_H
#define PEER_H

#include <stddef.h>

struct wish {
    int version;                /* 12 or 13 */
    const char *suite;          /* the library's name for it */
    const char *identity;
    unsigned char key[1024];
    size_t key_length;
    int groups[8];              /* NamedGroup values, most preferred first; as many as group_count */
    int group_count;
    const char *name;           /* server_name, or NULL */
    const char *protocol;       /* ALPN, or NULL */
    int only_psk_ke;            /* TLS 1.3 without (EC)DHE */
};

/* What is no number of bytes, and neither 0 for success nor 0 for close_notify. */
enum { WAIT_READ = -1, WAIT_WRITE = -2, FAILED = -3 };

/* A session over a connected, non-blocking socket. */
int tls_open(int fd, const struct wish *wish);
int tls_handshake(void);
/* One line on stderr: version, suite, protocol. */
void tls_report(void);
int tls_read(void *room, size_t size);
int tls_write(const void *bytes, size_t size);
int tls_update_keys(void);
int tls_close_notify(void);
/* Says on stderr why the last call failed, the server's alert above all: "alert=51". */
void tls_complain(void);

#endif
