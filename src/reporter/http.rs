//! Methods and statuses of HTTP (RFC 9110).
#![forbid(unsafe_code)]

/// Method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Asks for header and content.
    Get,
    /// "identical to GET except that the server MUST NOT send content in the response" (RFC 9110 §9.3.2).
    Head,
}

/// Status of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    TooLarge,
    Unavailable,
}

impl Status {
    /// Status code and reason phrase (RFC 9110 §15, RFC 6585 §5).
    pub(super) fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::TooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
        }
    }

    /// Content of an error response, for a person who reads it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::NotFound => "there are /metrics, /healthz and /readyz\n",
            Self::MethodNotAllowed => "there are GET and HEAD\n",
            Self::TooLarge => "too long\n",
            _ => "no request of HTTP/1.1\n",
        }
    }
}
