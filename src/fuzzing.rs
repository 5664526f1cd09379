//! The entry points of the fuzz targets in `fuzz/`, and a replay of their corpora: nothing may panic, whatever the
//! bytes are. The PSK engine has [entry points of its own](crate::tls::psk).
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what fails here is a finding")]

use crate::message::{decode, encode};
use crate::proxy::{self, MAX_V2, Progress};
use crate::tls::client::Certificate;
use crate::types::ClientCertificate;

/// The result for a PROXY header does not depend on the pieces in which its bytes come, and the header is not
/// longer than the bytes.
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

/// The facts about a readable client certificate survive the way to the monitor.
pub fn certificate(data: &[u8]) {
    if let Ok(certificate) = Certificate::parse(data) {
        let decoded: Option<ClientCertificate> = decode(&encode(&certificate.info));
        assert_eq!(decoded.unwrap(), certificate.info);
    }
}

/// Runs a target with its corpus.
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
    fn the_inputs_of_the_corpus_cause_no_panic() {
        super::replay("certificate", super::certificate);
        super::replay("proxy_header", super::proxy_header);
    }
}
