//! Values that are one of a few words, such as `"reject"` and `"default"`.
#![forbid(unsafe_code)]

use toml::Spanned;
use toml::de::DeValue;

use crate::config::host::OnTruncation;
use crate::config::listener::FallbackPolicy;
use crate::config::log::LogFormat;
use crate::config::run_as::UserFrom;
use crate::config::text::problems::Problems;
use crate::config::text::reader::{FromToml, word};
use crate::proxy;
use crate::tls::client::Demand;
use crate::tls::profile::Version;
use crate::types::{Severity, Stderr, Stdio};

/// Implements [`FromToml`] for an enum, with the word for each variant.
macro_rules! words {
    ($type:ty: $($word:literal => $meaning:ident),+) => {
        impl FromToml for $type {
            const ONE: &'static str = "a string";
            const MANY: &'static str = "an array of strings";

            fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
                word(value, &[$(($word, Self::$meaning)),+], problems)
            }
        }
    };
}

words!(LogFormat: "text" => Text, "json" => Json);
words!(Severity: "err" => Err, "warning" => Warning, "notice" => Notice, "info" => Info);
words!(FallbackPolicy: "reject" => Reject, "default" => Default);
words!(OnTruncation: "eof" => Eof, "kill" => Kill);
words!(Stderr: "log" => Log, "inherit" => Inherit, "null" => Null);
words!(UserFrom: "user" => Host, "psk" => Psk, "cert-cn" => CommonName);
words!(Version: "1.2" => Tls12, "1.3" => Tls13);
words!(proxy::Version: "v1" => V1, "v2" => V2);
words!(Stdio: "socket" => Socket, "pipe" => Pipe);

words!(Demand: "request" => Request, "require" => Require);
