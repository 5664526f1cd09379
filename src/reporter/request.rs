//! Bytes → what a client of the reporter wants (RFC 9112).
#![forbid(unsafe_code)]

use super::Page;
use super::http::{Method, Status};

/// The longest request that is read, in bytes.
const MAX_HEAD: usize = 8 * 1024;
/// Header fields, at most.
const MAX_FIELDS: usize = 64;

/// A request, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) page: Page,
}

/// What so many bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Whole(Request),
    /// More has to come.
    Partial,
}

/// The request in these bytes; what comes after it is of no interest.
///
/// Errors: the status to answer with.
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
    let page = match path(request.path.unwrap_or_default()) {
        "/metrics" => Page::Metrics,
        "/healthz" => Page::Health,
        "/readyz" => Page::Readiness,
        _ => return Err(Status::NotFound),
    };
    Ok(Parsed::Whole(Request { method, page }))
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
    use super::{MAX_HEAD, Method, Page, Parsed, Request, Status, parse};

    fn wants(text: &str, method: Method, page: Page) {
        let wanted = Ok(Parsed::Whole(Request { method, page }));
        assert_eq!(parse(text.as_bytes()), wanted, "{text:?}");
        for length in 0..text.len() {
            let part = &text.as_bytes()[..length];
            assert_eq!(parse(part), Ok(Parsed::Partial), "{length} of {text:?}");
        }
    }

    #[test]
    fn get_and_head_of_each_page_are_understood_at_their_last_byte() {
        wants(
            "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            Method::Get,
            Page::Metrics,
        );
        wants(
            "HEAD /healthz HTTP/1.1\r\nhost: x\r\nA: b\r\n\r\n",
            Method::Head,
            Page::Health,
        );
        wants("GET /readyz HTTP/1.0\r\n\r\n", Method::Get, Page::Readiness);
        wants(
            "GET http://localhost:9464/metrics?a=b HTTP/1.1\r\nHost: localhost\r\n\r\n",
            Method::Get,
            Page::Metrics,
        );
    }

    #[test]
    fn anything_else_is_refused_with_the_status_that_says_why() {
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
