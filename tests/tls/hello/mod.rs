//! The ClientHello reader: with real clients, with arbitrary input, and compared with rustls.

mod build;
mod clients;
mod properties;

use std::time::{Duration, Instant};

use rustls::{AlertDescription, CipherSuite, NamedGroup, ProtocolVersion};
use tlssrv::tls::hello::{ClientHello, HelloError, HelloReader, Progress};
use tlssrv_testing::vectors::tls12_illustrated;

use build::{Hello, records};

/// The hello in these bytes, given at once.
fn read(bytes: &[u8]) -> Result<ClientHello, HelloError> {
    match HelloReader::new().read(bytes)? {
        Progress::Complete(hello) => Ok(hello),
        Progress::NeedMore(_) => panic!("the hello is not complete"),
    }
}

/// The hello in these bytes, given one by one; it must take all of them.
fn read_byte_by_byte(bytes: &[u8]) -> Result<ClientHello, HelloError> {
    let mut reader = HelloReader::new();
    for end in 1..=bytes.len() {
        match reader.read(&bytes[..end])? {
            Progress::NeedMore(next) => reader = next,
            Progress::Complete(hello) => {
                assert_eq!(end, bytes.len());
                return Ok(hello);
            }
        }
    }
    panic!("the hello is not complete");
}

/// The record of `tests/vectors/tls12-illustrated.txt`.
fn illustrated() -> Vec<u8> {
    tls12_illustrated("client_hello_record")
}

#[test]
fn the_published_hello_is_read() {
    let hello = read(&illustrated()).unwrap();
    assert_eq!(
        hello.server_name.as_ref().unwrap().as_str(),
        "example.ulfheim.net"
    );
    assert_eq!(hello.legacy_version, ProtocolVersion::TLSv1_2);
    assert_eq!(hello.supported_versions, []);
    assert_eq!(hello.cipher_suites.len(), 16);
    assert_eq!(hello.groups[0], NamedGroup::X25519);
    assert_eq!(hello.signature_schemes.len(), 8);
    assert!(hello.alpn.is_empty() && hello.key_shares.is_empty());
    assert!(hello.psk_identities.is_empty() && !hello.session_ticket);
}

#[test]
fn a_truncated_hello_needs_more() {
    let record = illustrated();
    for end in 0..record.len() {
        let progress = HelloReader::new().read(&record[..end]);
        assert!(
            matches!(progress, Ok(Progress::NeedMore(_))),
            "{end}: {progress:?}"
        );
    }
}

#[test]
fn a_hello_may_come_in_any_number_of_records_and_segments() {
    let record = illustrated();
    let expected = read(&record).unwrap();
    assert_eq!(read_byte_by_byte(&record).unwrap(), expected);

    let message = &record[5..];
    for at in 1..message.len() {
        let split = records(&[&message[..at], &message[at..]]);
        assert_eq!(read(&split).unwrap(), expected);
        assert_eq!(read_byte_by_byte(&split).unwrap(), expected);
    }
    let drops: Vec<&[u8]> = message.chunks(1).collect();
    assert_eq!(read(&records(&drops)).unwrap(), expected);
    assert_eq!(read_byte_by_byte(&records(&drops)).unwrap(), expected);
}

#[test]
fn bytes_after_the_hello_are_left_unread() {
    let mut bytes = illustrated();
    bytes.extend_from_slice(&[23, 3, 3, 0, 4]);
    read(&bytes).unwrap();
}

#[test]
fn a_hello_of_60_kib_byte_by_byte_is_read_in_linear_time() {
    let hello = Hello::tls13("example.com").extension(21, &vec![0; 60 * 1024]);
    let fragments = hello.message();
    let bytes = records(&fragments.chunks(1 << 14).collect::<Vec<_>>());
    let start = Instant::now();
    read_byte_by_byte(&bytes).unwrap();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_hello_of_16_kib_may_come_in_records_of_one_byte() {
    let message = Hello::tls13("example.com")
        .extension(21, &vec![0; 16 * 1024])
        .message();
    let bytes = records(&message.chunks(1).collect::<Vec<_>>());
    assert_eq!(
        read(&bytes).unwrap().server_name.unwrap().as_str(),
        "example.com"
    );
}

#[test]
fn a_hello_of_go_is_read() {
    let hello = read(&Hello::go("go.example").record()).unwrap();
    assert_eq!(
        hello.alpn.iter().collect::<Vec<_>>(),
        [b"h2", &b"http/1.1"[..]]
    );
    assert_eq!(
        hello.supported_versions,
        [ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2]
    );
    assert_eq!(hello.key_shares, [NamedGroup::X25519]);
}

#[test]
fn a_browser_hello_with_grease_is_read() {
    let record = Hello::browser("www.example.com").record();
    assert!(
        record.len() > 1460,
        "{} bytes fit into one segment",
        record.len()
    );
    let hello = read(&record).unwrap();
    assert_eq!(
        hello.server_name.as_ref().unwrap().as_str(),
        "www.example.com"
    );
    assert!(hello.alpn.contains(b"h2") && hello.alpn.contains(b"http/1.1"));
    assert!(!hello.alpn.contains(b"http/1.0"));
    assert_eq!(
        hello.supported_versions[0],
        ProtocolVersion::Unknown(0x3a3a)
    );
    assert_eq!(hello.cipher_suites[0], CipherSuite::Unknown(0x1a1a));
    assert_eq!(
        hello.key_shares,
        [
            NamedGroup::Unknown(0x2a2a),
            NamedGroup::X25519MLKEM768,
            NamedGroup::X25519
        ]
    );
    assert_eq!(
        hello.to_string(),
        "versions=0x3a3a,TLSv1.3,TLSv1.2 name=www.example.com alpn=h2,http/1.1 \
         suites=0x1a1a,TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384,TLS_CHACHA20_POLY1305_SHA256,\
         TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 \
         groups=0x2a2a,X25519MLKEM768,X25519,secp256r1 shares=0x2a2a,X25519MLKEM768,X25519 \
         signatures=ECDSA_NISTP256_SHA256,RSA_PSS_SHA256,RSA_PKCS1_SHA256"
    );
}

#[test]
fn a_hello_of_tls_1_0_is_read() {
    let hello = read(&Hello::new(0x0301, &[0xc014, 0x0035]).record()).unwrap();
    assert_eq!(hello.legacy_version, ProtocolVersion::TLSv1_0);
    assert_eq!(hello.server_name, None);
    assert_eq!(
        hello.to_string(),
        "versions=TLSv1.0 suites=TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,TLS_RSA_WITH_AES_256_CBC_SHA"
    );
}

#[test]
fn resumption_is_recognised() {
    let offer = Hello::tls13("example.com")
        .extension(35, &[1; 100])
        .pre_shared_key(&[&[2; 100], b"joe"]);
    let hello = read(&offer.record()).unwrap();
    assert_eq!(hello.psk_identities.iter().count(), 2);
    assert!(hello.session_ticket);
    assert!(hello.to_string().ends_with(" psk=2 ticket"));
    let request = Hello::tls13("example.com").extension(35, &[]);
    assert!(!read(&request.record()).unwrap().session_ticket);
}

#[test]
fn long_lists_are_cut_in_the_trace() {
    let suites: Vec<u16> = (0x5a00..0x5b00).collect();
    let line = read(&Hello::new(0x0303, &suites).record())
        .unwrap()
        .to_string();
    assert!(line.ends_with(",0x5a27,+216"), "{line}");
}

#[test]
fn control_characters_in_alpn_are_escaped_in_the_trace() {
    let line = read(&Hello::tls13("a").alpn(&[b"x\n\x1b[2J\xff"]).record())
        .unwrap()
        .to_string();
    assert!(line.contains(r" alpn=x\n\x1b[2J\xff "), "{line}");
}

#[test]
fn a_server_name_that_is_no_dns_name_is_for_the_log_alone() {
    let named = |name: &[u8]| read(&Hello::new(0x0303, &[1]).server_name(name).record());
    assert_eq!(
        named(b"Example.COM.")
            .unwrap()
            .server_name
            .unwrap()
            .as_str(),
        "example.com"
    );
    for address in [&b"127.0.0.1"[..], b"::1"] {
        assert_eq!(named(address).unwrap().server_name, None);
    }
    for name in [
        &b"*.example.com"[..],
        b"a..b",
        b"\xc3\xbc",
        b"a\0",
        b"[::1]",
        b".",
        b"1.2.3.4.",
    ] {
        let hello = named(name).unwrap();
        assert_eq!(hello.server_name, None);
        let shown = hello.unfit_name.unwrap().to_string();
        assert_eq!(shown, name.escape_ascii().to_string());
    }
    assert_eq!(named(b""), Err(HelloError::Malformed("server_name")));
}

#[test]
fn a_server_name_list_has_one_host_name() {
    let listed = |body: &[u8]| read(&Hello::new(0x0303, &[1]).extension(0, body).record());
    for body in [
        &b""[..],
        b"\0",
        b"\0\0",
        b"\0\x04\0\0\x01",
        b"\0\x04\0\0\x02a",
        b"\0\x03\0\0\x01a",
        b"\0\x04\0\0\x01a!",
        b"\0\x08\0\0\x01a\0\0\x01b",
    ] {
        assert_eq!(
            listed(body),
            Err(HelloError::Malformed("server_name")),
            "{body:?}"
        );
    }
    assert_eq!(
        listed(b"\0\x04\x01\0\x01a"),
        Err(HelloError::InvalidServerName)
    );
    let alert = HelloError::InvalidServerName.alert();
    assert_eq!(alert, Some(AlertDescription::IllegalParameter));
    let then_another_type = listed(b"\0\x06\0\0\x01a\x01?").unwrap();
    assert_eq!(then_another_type.server_name.unwrap().as_str(), "a");
}

#[test]
fn malformed_fields_are_named() {
    let hello = || Hello::new(0x0303, &[1]);
    for (typ, name, bodies) in [
        (
            10,
            "supported_groups",
            &[
                &b""[..],
                b"\0\0",
                b"\0\x01\0",
                b"\0\x02\0",
                b"\0\x02\0\x1d!",
            ][..],
        ),
        (13, "signature_algorithms", &[b"\0\0", b"\0\x03\0\0\0"]),
        (
            16,
            "application_layer_protocol_negotiation",
            &[b"\0\0", b"\0\x01\0", b"\0\x03\x02h2\x02h3", b"\0\x02\x02h"],
        ),
        (
            41,
            "pre_shared_key",
            &[
                b"\0\0\0\0",
                b"\0\x07\0\x01a\0\0\0\0\0\0",
                b"\0\x06\0\0\0\0\0\0\0\x02\x01x",
            ],
        ),
        (
            43,
            "supported_versions",
            &[b"\0", b"\x01\x03", b"\x02\x03\x04!"],
        ),
        (
            51,
            "key_share",
            &[b"\0\x01\0", b"\0\x04\0\x1d\0\0", b"\0\0!"],
        ),
    ] {
        for body in bodies {
            let error = read(&hello().extension(typ, body).record()).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("malformed hello: {name}"),
                "{body:?}"
            );
            assert_eq!(error.alert(), Some(AlertDescription::DecodeError));
        }
    }
    let mut long = hello().extension(21, &[0; 4]).body();
    long.push(0);
    let error = read(&build::record(&long)).unwrap_err();
    assert_eq!(error, HelloError::Malformed("data after the extensions"));
}

#[test]
fn a_hello_without_extensions_is_read() {
    let mut body = Hello::new(0x0303, &[1]).body();
    assert_eq!(read(&build::record(&body)).unwrap().server_name, None);
    body.extend_from_slice(&[0, 0]);
    assert_eq!(read(&build::record(&body)).unwrap().server_name, None);
}

#[test]
fn extensions_come_once_and_pre_shared_key_comes_last() {
    let twice = Hello::new(0x0303, &[1])
        .extension(0x0a0a, b"")
        .extension(0x0a0a, b"");
    assert_eq!(
        read(&twice.record()),
        Err(HelloError::Illegal("duplicate extension"))
    );
    let not_last = Hello::new(0x0303, &[1])
        .pre_shared_key(&[b"joe"])
        .extension(21, b"");
    let error = read(&not_last.record()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "illegal hello: pre_shared_key is not last"
    );
    assert_eq!(error.alert(), Some(AlertDescription::IllegalParameter));
}
