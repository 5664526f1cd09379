/* The client of peer.c with GnuTLS. */
#include <stdio.h>
#include <string.h>

#include <gnutls/gnutls.h>

#include "peer.h"

static gnutls_session_t session;
static int last_error;

static int outcome(ssize_t result) {
    last_error = result < 0 ? (int)result : 0;
    if (result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED)
        return gnutls_record_get_direction(session) == 1 ? WAIT_WRITE : WAIT_READ;
    return result < 0 ? FAILED : (int)result;
}

/* The suite is a priority string: it says which groups and modes there are, too. */
int tls_open(int fd, const struct wish *wish) {
    gnutls_psk_client_credentials_t credentials;
    gnutls_datum_t key = {(unsigned char *)wish->key, (unsigned)wish->key_length};
    int e;

    if ((e = gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL)) != 0 ||
        (e = gnutls_psk_allocate_client_credentials(&credentials)) != 0 ||
        (e = gnutls_psk_set_client_credentials(credentials, wish->identity, &key,
                                               GNUTLS_PSK_KEY_RAW)) != 0 ||
        (e = gnutls_credentials_set(session, GNUTLS_CRD_PSK, credentials)) != 0 ||
        (e = gnutls_priority_set_direct(session, wish->suite, NULL)) != 0)
        return outcome(e);
    if (wish->name != NULL &&
        (e = gnutls_server_name_set(session, GNUTLS_NAME_DNS, wish->name, strlen(wish->name))) != 0)
        return outcome(e);
    if (wish->protocol != NULL) {
        gnutls_datum_t protocol = {(unsigned char *)wish->protocol, (unsigned)strlen(wish->protocol)};
        if ((e = gnutls_alpn_set_protocols(session, &protocol, 1, GNUTLS_ALPN_MANDATORY)) != 0)
            return outcome(e);
    }
    gnutls_transport_set_int(session, fd);
    return 0;
}

int tls_handshake(void) {
    return outcome(gnutls_handshake(session));
}

void tls_report(void) {
    gnutls_datum_t protocol = {NULL, 0};
    gnutls_alpn_get_selected_protocol(session, &protocol);
    fprintf(stderr, "tls=%s suite=%s alpn=%.*s\n",
            gnutls_protocol_get_name(gnutls_protocol_get_version(session)),
            gnutls_ciphersuite_get(session), (int)protocol.size,
            protocol.data ? (char *)protocol.data : "");
}

int tls_read(void *room, size_t size) {
    ssize_t result;
    /* Messages of the handshake come in between. */
    do
        result = gnutls_record_recv(session, room, size);
    while (result < 0 && result != GNUTLS_E_AGAIN && !gnutls_error_is_fatal((int)result));
    return outcome(result);
}

int tls_write(const void *bytes, size_t size) {
    return outcome(gnutls_record_send(session, bytes, size));
}

int tls_update_keys(void) {
    return outcome(gnutls_session_key_update(session, GNUTLS_KU_PEER));
}

int tls_close_notify(void) {
    return outcome(gnutls_bye(session, GNUTLS_SHUT_WR));
}

void tls_complain(void) {
    fprintf(stderr, "%s\n", gnutls_strerror(last_error));
    if (last_error == GNUTLS_E_FATAL_ALERT_RECEIVED)
        fprintf(stderr, "alert=%d\n", gnutls_alert_get(session));
}
