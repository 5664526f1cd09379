//! Composing of HTTP responses (RFC 9112 §4).
#![forbid(unsafe_code)]

use super::http::{Method, Status};
use super::message::Endpoint;

/// The bytes of a response.
pub(super) fn response(
    status: Status,
    endpoint: Endpoint,
    method: Method,
    content: &str,
) -> Vec<u8> {
    // The version of the text format, of Prometheus's "Exposition formats".
    let content_type = match endpoint {
        Endpoint::Metrics => "text/plain; version=0.0.4; charset=utf-8",
        Endpoint::Health | Endpoint::Readiness => "text/plain; charset=utf-8",
    };
    // "The origin server MUST generate an Allow header field in a 405 response" (RFC 9110 §15.5.6).
    let allow = match status {
        Status::MethodNotAllowed => "Allow: GET, HEAD\r\n",
        _ => "",
    };
    let head = format!(
        "HTTP/1.1 {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{allow}Cache-Control: no-store\r\n\
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
