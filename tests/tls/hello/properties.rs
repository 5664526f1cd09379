//! Properties of the reader for arbitrary bytes: no panic, the same answer in pieces of any size, and the
//! server name that rustls sees.

use std::io::Read;

use proptest::prelude::*;
use rustls::server::Acceptor;
use tlssrv::tls::hello::{ClientHello, HelloError, HelloReader, Progress};
use tlssrv::types::ServerName;

use super::build::{Hello, records};
use super::clients::rustls_client;

/// The answer of the reader to some bytes.
#[derive(Debug, PartialEq)]
enum Answer {
    NeedMore,
    Complete(ClientHello),
    Error(HelloError),
}

/// The answer to bytes that arrive in pieces of this size.
fn answer(bytes: &[u8], piece: usize) -> Answer {
    let mut reader = HelloReader::new();
    let mut end = 0;
    while end < bytes.len() {
        end = bytes.len().min(end + piece);
        reader = match reader.read(&bytes[..end]) {
            Ok(Progress::NeedMore(reader)) => reader,
            Ok(Progress::Complete(hello)) => return Answer::Complete(hello),
            // Which of the two errors it is depends on how much has arrived.
            Err(HelloError::PlainHttp) => return Answer::Error(HelloError::NotTls),
            Err(error) => return Answer::Error(error),
        };
    }
    Answer::NeedMore
}

/// The server name that rustls reads, if it accepts this ClientHello.
fn rustls_server_name(mut bytes: &[u8]) -> Option<Option<String>> {
    let mut acceptor = Acceptor::default();
    loop {
        if let Some(accepted) = acceptor.accept().ok()? {
            return Some(accepted.client_hello().server_name().map(str::to_owned));
        }
        if acceptor.read_tls(&mut bytes.by_ref()).ok()? == 0 {
            return None;
        }
    }
}

/// Fails unless the reader accepts these bytes where rustls does, with the same server name, and gives the
/// same answer in pieces of any size.
fn check_agreement(bytes: &[u8]) -> Result<(), TestCaseError> {
    let ours = answer(bytes, usize::MAX);
    match (rustls_server_name(bytes), &ours) {
        // rustls takes plaintext records of 16 to 18 KiB; RFC 8446 §5.1 does not.
        (None, _) | (Some(_), Answer::Error(HelloError::RecordTooLong)) => {}
        (Some(theirs), Answer::Complete(hello)) => {
            // rustls leaves a trailing dot where it is (RFC 6066 §3 has none).
            let theirs = theirs.map(|name| name.strip_suffix('.').unwrap_or(&name).to_owned());
            prop_assert_eq!(
                hello.server_name.as_ref().map(ServerName::as_str),
                theirs.as_deref()
            );
        }
        (Some(theirs), _) => prop_assert!(false, "rustls: {theirs:?}, ours: {ours:?}"),
    }
    prop_assert_eq!(&ours, &answer(bytes, 1));
    prop_assert_eq!(&ours, &answer(bytes, 7));
    Ok(())
}

fn real_hellos() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(super::illustrated()),
        Just(rustls_client("imap.example.com")),
        Just(Hello::go("go.example").record()),
        Just(Hello::browser("www.example.com").record()),
        Just(
            Hello::tls13("example.com")
                .pre_shared_key(&[b"joe", &[1; 80]])
                .record()
        ),
    ]
}

/// A change to a hello.
#[derive(Clone, Debug)]
enum Mutation {
    Set(u8),
    Flip(u8),
    Insert(Vec<u8>),
    Delete(usize),
}

fn mutations() -> impl Strategy<Value = Vec<(prop::sample::Index, Mutation)>> {
    let mutation = prop_oneof![
        any::<u8>().prop_map(Mutation::Set),
        (0..8u8).prop_map(|bit| Mutation::Flip(1 << bit)),
        prop::collection::vec(any::<u8>(), 1..6).prop_map(Mutation::Insert),
        (1..6usize).prop_map(Mutation::Delete),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), mutation), 1..5)
}

fn mutate(bytes: &mut Vec<u8>, mutations: Vec<(prop::sample::Index, Mutation)>) {
    for (at, mutation) in mutations {
        let at = at.index(bytes.len());
        match mutation {
            Mutation::Set(byte) => bytes[at] = byte,
            Mutation::Flip(bits) => bytes[at] ^= bits,
            Mutation::Insert(new) => drop(bytes.splice(at..at, new)),
            Mutation::Delete(len) => drop(bytes.drain(at..bytes.len().min(at + len))),
        }
        if bytes.is_empty() {
            bytes.push(22);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_get_the_answer_of_rustls(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        check_agreement(&bytes)?;
    }

    #[test]
    fn arbitrary_handshake_records_get_the_answer_of_rustls(body in prop::collection::vec(any::<u8>(), 0..600)) {
        check_agreement(&super::build::record(&body))?;
    }

    #[test]
    fn mutated_hellos_get_the_answer_of_rustls(
        mut bytes in real_hellos(),
        mutations in mutations(),
    ) {
        mutate(&mut bytes, mutations);
        check_agreement(&bytes)?;
    }

    #[test]
    fn mutated_bodies_get_the_answer_of_rustls(
        bytes in real_hellos(),
        mutations in mutations(),
        cut in 1..400usize,
    ) {
        // Record and message lengths stay right, so that more of the mutations reach the fields.
        let mut body = bytes[9..].to_vec();
        mutate(&mut body, mutations);
        let record = super::build::record(&body);
        check_agreement(&record)?;
        check_agreement(&records(&record[5..].chunks(cut).collect::<Vec<_>>()))?;
    }

    #[test]
    fn any_server_name_is_the_one_that_rustls_sees(
        name in prop_oneof![
            "[a-zA-Z0-9._-]{1,40}",
            "[a-z0-9]{1,3}(\\.[a-z0-9-]{1,3}){0,4}\\.?",
            "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}",
            "[0-9a-f:]{2,20}",
            "[a-z]{60,65}(\\.[a-z]{60,64}){2,3}",
            ".{1,20}",
        ],
        more in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        check_agreement(&Hello::go(&name).record())?;
        let len = u16::try_from(name.len()).unwrap().to_be_bytes();
        let list = [&[0][..], &len, name.as_bytes(), &more].concat();
        let list_len = u16::try_from(list.len()).unwrap().to_be_bytes();
        let body = [&list_len[..], &list].concat();
        let hello = Hello::new(0x0303, &[0xc02b])
            .extension(13, &[0, 2, 4, 3])
            .extension(0, &body);
        check_agreement(&hello.record())?;
    }
}
