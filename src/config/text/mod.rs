//! Reads a TOML file key by key, with the span of each value, and reports the mistakes in it.
//!
//! The file is read by hand rather than with serde, because serde stops at the first mistake and all
//! mistakes are to be shown at once. Deserializing again without the wrong entry loses mistakes, because
//! a key that is missing has the span of the whole `[[host]]`. eserde (0.1) keeps no spans of wrong types
//! and only the first unknown key of a table. toml-span (0.7) finds all mistakes, but needs code per type
//! like this, and stops at the first mistake in the syntax. annotate-snippets, codespan-reporting, ariadne
//! and miette do not print `FILE:LINE: MESSAGE` with the line of the file below. That takes about 35 lines
//! here.
//!
//! The code in this folder opens no files, and does not check values against each other, except
//! for keys that need or exclude other keys.
#![forbid(unsafe_code)]

pub(super) mod hints;
pub(super) mod problems;
pub(super) mod raw;
pub(super) mod raw_clients;
pub(super) mod raw_host;
pub(super) mod reader;
mod words;
