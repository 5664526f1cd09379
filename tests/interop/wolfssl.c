/* The client of peer.c with wolfSSL. */
#include <stdio.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>

#include "peer.h"

static const struct wish *wish;
static WOLFSSL *session;
static int last_error;

static int outcome(int result) {
    if (result > 0)
        return result;
    last_error = wolfSSL_get_error(session, result);
    switch (last_error) {
    case WOLFSSL_ERROR_WANT_READ:
        return WAIT_READ;
    case WOLFSSL_ERROR_WANT_WRITE:
        return WAIT_WRITE;
    case WOLFSSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return FAILED;
    }
}

/* 0 for success. */
static int success(int result) {
    return result == WOLFSSL_SUCCESS ? 0 : outcome(result);
}

static unsigned take_key(char *identity, unsigned identity_size,
                         unsigned char *key, unsigned key_size) {
    if (strlen(wish->identity) >= identity_size || wish->key_length > key_size)
        return 0;
    strcpy(identity, wish->identity);
    memcpy(key, wish->key, wish->key_length);
    return (unsigned)wish->key_length;
}

static unsigned tls12_key(WOLFSSL *ssl, const char *hint, char *identity, unsigned identity_size,
                          unsigned char *key, unsigned key_size) {
    (void)ssl, (void)hint;
    return take_key(identity, identity_size, key, key_size);
}

/* The hash of a key is that of the suite which is named here. */
static unsigned tls13_key(WOLFSSL *ssl, const char *hint, char *identity, unsigned identity_size,
                          unsigned char *key, unsigned key_size, const char **suite) {
    (void)ssl, (void)hint;
    *suite = wish->suite;
    return take_key(identity, identity_size, key, key_size);
}

/* In TLS 1.3 the first group is that of the key share. */
static int choose_groups(void) {
    if (wish->version == 13 && wish->group_count > 0)
        return success(wolfSSL_set_groups(session, (int *)wish->groups, wish->group_count));
    for (int i = 0; i < wish->group_count; i++)
        if (wolfSSL_UseSupportedCurve(session, (word16)wish->groups[i]) != WOLFSSL_SUCCESS)
            return FAILED;
    return 0;
}

int tls_open(int fd, const struct wish *wished) {
    WOLFSSL_CTX *context;

    wish = wished;
    wolfSSL_Init();
    context = wolfSSL_CTX_new(wish->version == 13 ? wolfTLSv1_3_client_method()
                                                  : wolfTLSv1_2_client_method());
    if (context == NULL || wolfSSL_CTX_set_cipher_list(context, wish->suite) != WOLFSSL_SUCCESS) {
        fprintf(stderr, "no suite %s\n", wish->suite);
        return FAILED;
    }
    if (wish->version == 13)
        wolfSSL_CTX_set_psk_client_tls13_callback(context, tls13_key);
    else
        wolfSSL_CTX_set_psk_client_callback(context, tls12_key);
    if (wish->only_psk_ke)
        wolfSSL_CTX_no_dhe_psk(context);
    session = wolfSSL_new(context);
    if (session == NULL || choose_groups() != 0)
        return FAILED;
    if (wish->name != NULL)
        wolfSSL_UseSNI(session, WOLFSSL_SNI_HOST_NAME, wish->name, (word16)strlen(wish->name));
    if (wish->protocol != NULL)
        wolfSSL_UseALPN(session, (char *)wish->protocol, (unsigned)strlen(wish->protocol),
                        WOLFSSL_ALPN_FAILED_ON_MISMATCH);
    wolfSSL_set_using_nonblock(session, 1);
    return success(wolfSSL_set_fd(session, fd));
}

int tls_handshake(void) {
    return success(wolfSSL_connect(session));
}

void tls_report(void) {
    char *protocol = NULL;
    unsigned short length = 0;
    wolfSSL_ALPN_GetProtocol(session, &protocol, &length);
    fprintf(stderr, "tls=%s suite=%s alpn=%.*s\n", wolfSSL_get_version(session),
            wolfSSL_get_cipher_name(session), (int)length, protocol ? protocol : "");
}

int tls_read(void *room, size_t size) {
    int result = outcome(wolfSSL_read(session, room, (int)size));
    /* It takes end-of-file for the end, too. */
    if (result == 0 && !(wolfSSL_get_shutdown(session) & WOLFSSL_RECEIVED_SHUTDOWN)) {
        fprintf(stderr, "no close_notify\n");
        return FAILED;
    }
    return result;
}

int tls_write(const void *bytes, size_t size) {
    return outcome(wolfSSL_write(session, bytes, (int)size));
}

int tls_update_keys(void) {
    return success(wolfSSL_update_keys(session));
}

int tls_close_notify(void) {
    int result = wolfSSL_shutdown(session);
    /* It would also wait for the server's. */
    return result == WOLFSSL_SHUTDOWN_NOT_DONE ? 0 : success(result);
}

void tls_complain(void) {
    WOLFSSL_ALERT_HISTORY alerts;
    char text[WOLFSSL_MAX_ERROR_SZ];
    fprintf(stderr, "%s\n", wolfSSL_ERR_error_string((unsigned long)last_error, text));
    if (session != NULL && wolfSSL_get_alert_history(session, &alerts) == WOLFSSL_SUCCESS &&
        alerts.last_rx.code >= 0)
        fprintf(stderr, "alert=%d\n", alerts.last_rx.code);
}
