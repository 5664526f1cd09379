/* The client of peer.c with mbedTLS 2.28, which speaks no TLS 1.3. */
#include <stdio.h>
#include <string.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>

#include "peer.h"

static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context random_numbers;
static mbedtls_ssl_config config;
static mbedtls_ssl_context session;
static mbedtls_net_context network;
static int last_error;

static const struct {
    int number;
    mbedtls_ecp_group_id id;
} groups[] = {
    {23, MBEDTLS_ECP_DP_SECP256R1},
    {24, MBEDTLS_ECP_DP_SECP384R1},
    {25, MBEDTLS_ECP_DP_SECP521R1},
    {29, MBEDTLS_ECP_DP_CURVE25519},
};

static int outcome(int result) {
    last_error = result;
    switch (result) {
    case MBEDTLS_ERR_SSL_WANT_READ:
        return WAIT_READ;
    case MBEDTLS_ERR_SSL_WANT_WRITE:
        return WAIT_WRITE;
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        return 0;
    default:
        return result < 0 ? FAILED : result;
    }
}

static void choose_groups(const struct wish *wish) {
    static mbedtls_ecp_group_id chosen[9];
    int count = 0;
    for (int i = 0; i < wish->group_count; i++)
        for (size_t j = 0; j < sizeof groups / sizeof *groups; j++)
            if (groups[j].number == wish->groups[i])
                chosen[count++] = groups[j].id;
    chosen[count] = MBEDTLS_ECP_DP_NONE;
    if (count > 0)
        mbedtls_ssl_conf_curves(&config, chosen);
}

int tls_open(int fd, const struct wish *wish) {
    static int suites[2];
    static const char *protocols[2];
    const unsigned char *identity = (const unsigned char *)wish->identity;
    int e;

    suites[0] = mbedtls_ssl_get_ciphersuite_id(wish->suite);
    if (wish->version != 12 || suites[0] == 0 || wish->only_psk_ke)
        return outcome(MBEDTLS_ERR_SSL_FEATURE_UNAVAILABLE);
    network.fd = fd;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random_numbers);
    mbedtls_ssl_config_init(&config);
    mbedtls_ssl_init(&session);
    if ((e = mbedtls_ctr_drbg_seed(&random_numbers, mbedtls_entropy_func, &entropy, NULL, 0)) != 0 ||
        (e = mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                         MBEDTLS_SSL_PRESET_DEFAULT)) != 0)
        return outcome(e);
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random_numbers);
    mbedtls_ssl_conf_min_version(&config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_ciphersuites(&config, suites);
    choose_groups(wish);
    protocols[0] = wish->protocol;
    if ((e = mbedtls_ssl_conf_psk(&config, wish->key, wish->key_length,
                                  identity, strlen(wish->identity))) != 0 ||
        (wish->protocol != NULL && (e = mbedtls_ssl_conf_alpn_protocols(&config, protocols)) != 0) ||
        (e = mbedtls_ssl_setup(&session, &config)) != 0 ||
        (wish->name != NULL && (e = mbedtls_ssl_set_hostname(&session, wish->name)) != 0))
        return outcome(e);
    mbedtls_ssl_set_bio(&session, &network, mbedtls_net_send, mbedtls_net_recv, NULL);
    return 0;
}

int tls_handshake(void) {
    return outcome(mbedtls_ssl_handshake(&session));
}

void tls_report(void) {
    const char *protocol = mbedtls_ssl_get_alpn_protocol(&session);
    fprintf(stderr, "tls=%s suite=%s alpn=%s\n", mbedtls_ssl_get_version(&session),
            mbedtls_ssl_get_ciphersuite(&session), protocol ? protocol : "");
}

int tls_read(void *room, size_t size) {
    int result = mbedtls_ssl_read(&session, room, size);
    /* End-of-file without close_notify is not the end that we wait for. */
    return outcome(result == 0 ? MBEDTLS_ERR_SSL_CONN_EOF : result);
}

int tls_write(const void *bytes, size_t size) {
    return outcome(mbedtls_ssl_write(&session, bytes, size));
}

int tls_update_keys(void) {
    return outcome(MBEDTLS_ERR_SSL_FEATURE_UNAVAILABLE);
}

int tls_close_notify(void) {
    return outcome(mbedtls_ssl_close_notify(&session));
}

void tls_complain(void) {
    char text[200];
    mbedtls_strerror(last_error, text, sizeof text);
    fprintf(stderr, "%s\n", text);
    if (last_error == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE)
        fprintf(stderr, "alert=%d\n", session.in_msg[1]);
}
