//! Parsing of HTTP requests (RFC 9112).
#![forbid(unsafe_code)]

use super::http::{Method, Status};
use super::message::Endpoint;

/// Longest request, in bytes.
const MAX_HEAD: usize = 8 * 1024;
/// Largest number of header fields.
const MAX_FIELDS: usize = 64;

/// A request of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) endpoint: Endpoint,
}

/// Result of [`parse`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A complete request.
    Complete(Request),
    /// The request is not complete.
    Partial,
}

/// Parses the request at the start of these bytes.
///
/// Errors: the status of the response.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Status> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => {}
        Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => return Ok(Parsed::Partial),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Status::TooLarge),
        Err(_) => return Err(Status::BadRequest),
    }
    // "A server MUST respond with a 400 […] to any HTTP/1.1 request message that lacks a Host header field
    // and to any request message that contains more than one" (RFC 9112 §3.2).
    let is_host = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case("host");
    let hosts = request.headers.iter().filter(is_host).count();
    if hosts > 1 || (hosts == 0 && request.version != Some(0)) {
        return Err(Status::BadRequest);
    }
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => return Err(Status::MethodNotAllowed),
    };
    let endpoint = match path(request.path.unwrap_or_default()) {
        "/metrics" => Endpoint::Metrics,
        "/healthz" => Endpoint::Health,
        "/readyz" => Endpoint::Readiness,
        _ => return Err(Status::NotFound),
    };
    Ok(Parsed::Complete(Request { method, endpoint }))
}

/// The path of a request target without its query. "a server MUST accept the absolute-form in requests even
/// though most HTTP/1.1 clients will only send the absolute-form to a proxy" (RFC 9112 §3.2.2).
fn path(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some(("http", rest)) => rest.find('/').and_then(|slash| rest.get(slash..)),
        _ => Some(target),
    };
    let target = target.unwrap_or("/");
    target.split_once('?').map_or(target, |(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, MAX_HEAD, Method, Parsed, Request, Status, parse};

    fn assert_parsed(text: &str, method: Method, endpoint: Endpoint) {
        let wanted = Ok(Parsed::Complete(Request { method, endpoint }));
        assert_eq!(parse(text.as_bytes()), wanted, "{text:?}");
        for length in 0..text.len() {
            let part = &text.as_bytes()[..length];
            assert_eq!(parse(part), Ok(Parsed::Partial), "{length} of {text:?}");
        }
    }

    #[test]
    fn get_and_head_of_each_endpoint_are_complete_at_their_last_byte() {
        assert_parsed(
            "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            Method::Get,
            Endpoint::Metrics,
        );
        assert_parsed(
            "HEAD /healthz HTTP/1.1\r\nhost: x\r\nA: b\r\n\r\n",
            Method::Head,
            Endpoint::Health,
        );
        assert_parsed(
            "GET /readyz HTTP/1.0\r\n\r\n",
            Method::Get,
            Endpoint::Readiness,
        );
        assert_parsed(
            "GET http://localhost:9464/metrics?a=b HTTP/1.1\r\nHost: localhost\r\n\r\n",
            Method::Get,
            Endpoint::Metrics,
        );
    }

    #[test]
    fn other_requests_are_refused_with_the_status_of_their_error() {
        let refused = |text: &str| parse(text.as_bytes()).unwrap_err();
        let host = "HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(
            refused(&format!("POST /metrics {host}")),
            Status::MethodNotAllowed
        );
        for target in ["/", "/metrics/", "/metric", "*", "http://x"] {
            let refusal = refused(&format!("GET {target} {host}"));
            assert_eq!(refusal, Status::NotFound, "{target}");
        }
        assert_eq!(refused("GET /metrics HTTP/1.1\r\n\r\n"), Status::BadRequest);
        let twice = "GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n";
        assert_eq!(refused(twice), Status::BadRequest);
        assert_eq!(refused("\u{16}\u{3}\u{1}\u{0}"), Status::BadRequest);
        assert_eq!(refused("GET /metrics HTTP/2.0\r\n"), Status::BadRequest);
        let many = "A: b\r\n".repeat(65);
        let many = format!("GET /metrics HTTP/1.1\r\n{many}");
        assert_eq!(refused(&many), Status::TooLarge);
        let long = format!("GET /{}", "a".repeat(MAX_HEAD));
        assert_eq!(refused(&long), Status::TooLarge);
    }
}
