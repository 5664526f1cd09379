//! What the fuzz targets in `fuzz/` call, each with arbitrary bytes, and what calls it with the bytes that
//! they have kept: nothing may panic. Those of the engine for pre-shared keys are [its own](crate::tls::psk).
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what fails here is a finding")]

use crate::message::{decode, encode};
use crate::proxy::{self, MAX_V2, Progress};
use crate::tls::client::Certificate;
use crate::types::ClientCertificate;

/// What is decided about a PROXY header does not depend on how its bytes came, and it is no longer than
/// they are.
pub fn proxy_header(data: &[u8]) {
    let whole = proxy::read(data);
    if let Ok(Progress::Complete(_, length)) = whole {
        assert!(length <= data.len().min(MAX_V2));
    }
    let beginnings = (0..=data.len()).filter_map(|end| data.get(..end));
    let decided = beginnings
        .map(proxy::read)
        .find(|part| *part != Ok(Progress::NeedMore));
    assert_eq!(decided.unwrap_or(Ok(Progress::NeedMore)), whole);
}

/// What is told of a client's certificate that can be read, the monitor takes.
pub fn certificate(data: &[u8]) {
    if let Ok(certificate) = Certificate::parse(data) {
        let told: Option<ClientCertificate> = decode(&encode(&certificate.facts));
        assert_eq!(told.unwrap(), certificate.facts);
    }
}

/// Gives a target what its fuzzer has kept.
#[cfg(test)]
pub(crate) fn replay(name: &str, target: fn(&[u8])) {
    let corpus = format!("{}/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
    assert!(!files.is_empty(), "no corpus for {name}");
    for file in files {
        target(&std::fs::read(file.unwrap().path()).unwrap());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_the_fuzzers_have_kept_is_no_finding() {
        super::replay("certificate", super::certificate);
        super::replay("proxy_header", super::proxy_header);
    }
}
