//! What a client of the reporter is told (RFC 9112 §4).
#![forbid(unsafe_code)]

use super::Page;
use super::http::{Method, Status};

/// A response, whole.
pub(super) fn response(status: Status, page: Page, method: Method, content: &str) -> Vec<u8> {
    // Of Prometheus's "Exposition formats": the text format has a version of its own.
    let kind = match page {
        Page::Metrics => "text/plain; version=0.0.4; charset=utf-8",
        Page::Health | Page::Readiness => "text/plain; charset=utf-8",
    };
    // "The origin server MUST generate an Allow header field in a 405 response" (RFC 9110 §15.5.6).
    let allow = match status {
        Status::MethodNotAllowed => "Allow: GET, HEAD\r\n",
        _ => "",
    };
    let head = format!(
        "HTTP/1.1 {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Cache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        status.line(),
        content.len(),
    );
    let content = match method {
        Method::Get => content,
        Method::Head => "",
    };
    [head.as_bytes(), content.as_bytes()].concat()
}
