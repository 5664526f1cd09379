//! PEM text as people have it (RFC 7468): each `-----BEGIN` in it is a section, or an error with its line.
//!
//! Text around sections is explanatory (§2). A byte order mark before a section, and a missing newline between two
//! sections, leave no doubt about what is meant. No message shows a line, because it may be part of a key.
#![forbid(unsafe_code)]

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

/// A section of PEM text.
pub struct Section {
    /// Line of its `-----BEGIN`, from 1.
    pub line: usize,
    /// Label, such as `CERTIFICATE`.
    pub label: String,
    /// Decoded contents.
    pub der: Zeroizing<Vec<u8>>,
}

/// Reads all sections of a text. There may be none.
///
/// Errors: the line of a section that cannot be read, and what is wrong with it.
pub fn sections(text: &[u8]) -> Result<Vec<Section>, String> {
    if is_utf_16(text) {
        return Err(UTF_16.into());
    }
    let mut sections = Vec::new();
    let mut open: Option<Open> = None;
    for (number, line) in lines(text) {
        // One line may have the end of a section and the beginning of the next one.
        let mut rest = Some(line);
        while let Some(text) = rest.take() {
            if let Some(section) = &mut open {
                rest = section
                    .add(text)
                    .map_err(|reason| format!("line {number}: {reason}"))?;
                if rest.is_some() {
                    sections.extend(open.take().map(Open::close).transpose()?);
                }
                continue;
            }
            let text = without_bom(text);
            open = begin(text).map(|label| Open::new(number, label));
            if open.is_none()
                && let Some(reason) = misplaced(text)
            {
                return Err(format!("line {number}: {reason}"));
            }
        }
    }
    match open {
        None => Ok(sections),
        Some(Open { line, label, .. }) => Err(format!(
            "line {line}: the section has no end: \"-----END {label}-----\" is missing"
        )),
    }
}

/// The text without a byte order mark at its front.
pub fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Whether a text begins with a byte order mark of UTF-16, as what PowerShell writes.
pub fn is_utf_16(text: &[u8]) -> bool {
    text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff")
}

/// What is wrong with such a text.
pub const UTF_16: &str = "it is UTF-16 text: \"iconv -f UTF-16 -t UTF-8 FILE >NEW\" converts it";

/// A section whose end has not been read.
struct Open {
    line: usize,
    label: String,
    base64: Zeroizing<Vec<u8>>,
}

impl Open {
    fn new(line: usize, label: &str) -> Self {
        Self {
            line,
            label: label.to_owned(),
            base64: Zeroizing::default(),
        }
    }

    /// Adds a line. Returns what follows the end of the section, if the line has that.
    fn add<'a>(&mut self, text: &'a [u8]) -> Result<Option<&'a [u8]>, String> {
        if let Some(end) = text.strip_prefix(END) {
            let label = end.strip_prefix(b" ".as_slice()).and_then(|label| {
                let dashes = find(label, DASHES)?;
                Some((label.get(..dashes)?, label.get(dashes + DASHES.len()..)?))
            });
            return match label {
                Some((label, after)) if label == self.label.as_bytes() => Ok(Some(after)),
                _ => Err(format!(
                    "another end than \"-----END {}-----\", for the section of line {}",
                    self.label, self.line
                )),
            };
        }
        if find(text, BEGIN).is_some() {
            let line = self.line;
            return Err(format!(
                "a section begins before that of line {line} has ended"
            ));
        }
        if find(text, END).is_some() {
            return Err("\"-----END\" has to be at the beginning of its line".into());
        }
        // RFC 1421 §4.6.1.1
        if text.starts_with(b"Proc-Type:") && find(text, b"ENCRYPTED").is_some() {
            return Err(format!(
                "the key is encrypted in an old format: {ENCRYPT_ANEW}"
            ));
        }
        let digits = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
        let text = || text.iter().filter(|byte| !byte.is_ascii_whitespace());
        if !text().all(digits) {
            return Err(format!(
                "not base64, in the section \"{}\" of line {}",
                self.label, self.line
            ));
        }
        self.grow(text().count());
        self.base64.extend(text());
        Ok(None)
    }

    /// Makes room for more digits without leaving a copy of a key in freed memory.
    fn grow(&mut self, more: usize) {
        let needed = self.base64.len() + more;
        if needed > self.base64.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * needed));
            larger.extend_from_slice(&self.base64);
            self.base64 = larger;
        }
    }

    fn close(self) -> Result<Section, String> {
        let mut der = Zeroizing::new(vec![0; self.base64.len() / 4 * 3]);
        let length = match Base64::decode(self.base64.as_slice(), &mut der) {
            Ok(decoded) => decoded.len(),
            Err(_) => {
                return Err(format!(
                    "line {}: the section is damaged: its base64 is cut off, or has a digit too many",
                    self.line
                ));
            }
        };
        der.truncate(length);
        Ok(Section {
            line: self.line,
            label: self.label,
            der,
        })
    }
}

/// The label of a line that begins a section.
fn begin(text: &[u8]) -> Option<&str> {
    let label = text.strip_prefix(BEGIN)?.strip_prefix(b" ")?;
    let label = label.trim_ascii_end().strip_suffix(DASHES)?;
    let label = str::from_utf8(label).ok()?;
    let is_label = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || " #.-".contains(c);
    (label.chars().all(is_label) && !label.contains("-----")).then_some(label)
}

/// What is wrong with a line outside of sections that seems to begin or end one.
fn misplaced(text: &[u8]) -> Option<&'static str> {
    if begin(text.trim_ascii_start()).is_some() {
        return Some("white space before \"-----BEGIN\": remove it, from all lines of the section");
    }
    // Word processors make dashes of hyphens.
    let text = Zeroizing::new(String::from_utf8_lossy(text).to_uppercase());
    let text = Zeroizing::new(text.replace(|c| ('\u{2010}'..='\u{2015}').contains(&c), "-"));
    let has = |what: &str| text.contains(what);
    if has("-----END ") && !has("-----BEGIN") {
        return Some("\"-----END\" without a \"-----BEGIN\" before it");
    }
    let misspelt = LABELS.iter().any(|label| {
        let words = ["-BEGIN ", "- BEGIN ", "-END ", "- END "];
        words.iter().any(|word| has(&format!("{word}{label}")))
    });
    (misspelt || has("-----BEGIN")).then_some(
        "misspelt, or not alone in its line: a section begins with a line such as \
         \"-----BEGIN CERTIFICATE-----\", and ends with one",
    )
}

/// Lines with their numbers, from 1. They end with CR, LF or both (RFC 7468 §3, `eol`).
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut number = 0;
    text.split_inclusive(|byte| *byte == b'\n')
        .flat_map(|line| {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            line.split(|byte| *byte == b'\r')
        })
        .map(move |line| {
            number += 1;
            (number, line)
        })
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// The command that makes a key of any encryption one that [`super::encrypted_key`] can read.
pub(super) const ENCRYPT_ANEW: &str = "\"openssl pkcs8 -topk8 -in FILE -out NEW\" encrypts it anew";

const BEGIN: &[u8] = b"-----BEGIN";
const END: &[u8] = b"-----END";
const DASHES: &[u8] = b"-----";
/// Beginnings of the labels that files for tlssrv have.
const LABELS: [&str; 7] = [
    "CERTIFICATE",
    "X509 C",
    "TRUSTED CERTIFICATE",
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";
    const B: &str = "-----BEGIN X509 CRL-----\nZGVm\nZw==\n-----END X509 CRL-----\n";

    /// Line, label and contents of each section.
    fn read(text: &str) -> Result<Vec<(usize, String, Vec<u8>)>, String> {
        let section =
            |Section { line, label, der }: Section| (line, label, der.as_slice().to_vec());
        sections(text.as_bytes()).map(|sections| sections.into_iter().map(section).collect())
    }

    #[track_caller]
    fn has_both(text: &str, lines: [usize; 2]) {
        let [first, second] = lines;
        let expected = vec![
            (first, "CERTIFICATE".to_owned(), b"abc".to_vec()),
            (second, "X509 CRL".to_owned(), b"defg".to_vec()),
        ];
        assert_eq!(read(text), Ok(expected), "{text:?}");
    }

    #[test]
    fn text_around_sections_and_any_ends_of_lines_are_fine() {
        has_both(&format!("{A}{B}"), [1, 4]);
        has_both(&format!("who: a\n{A}\nbag - begin of two\n{B}\n"), [2, 7]);
        has_both(&format!("{A}{B}").replace('\n', "\r\n"), [1, 4]);
        has_both(&format!("{A}{B}").replace('\n', "\r"), [1, 4]);
        has_both(&format!("{A}{B}").replace("\n-----", "  \n\n-----"), [1, 6]);
        has_both(&format!("{A}{B}").replace("-----\n", "----- \t\n"), [1, 4]);
        assert_eq!(read("nothing\n"), Ok(Vec::new()));
    }

    #[test]
    fn byte_order_marks_and_missing_newlines_between_sections_are_read_over() {
        let (a, bom) = (A.trim_end(), '\u{feff}');
        has_both(&format!("{a}{B}"), [1, 3]);
        has_both(&format!("{bom}{A}{bom}{B}"), [1, 4]);
        has_both(&format!("{a}{bom}{B}"), [1, 3]);
    }

    #[test]
    fn sections_in_doubt_are_refused_with_their_line() {
        for (text, reason) in [
            (
                format!("{A}  {B}"),
                "line 4: white space before \"-----BEGIN\"",
            ),
            (format!("{A}# {B}"), "line 4: misspelt, or not alone"),
            (
                A.replace("-----\nYW", "-----YW"),
                "line 1: misspelt, or not alone",
            ),
            (A.to_lowercase(), "line 1: misspelt, or not alone"),
            (
                A.replace("-----BEGIN", "----BEGIN"),
                "line 1: misspelt, or not alone",
            ),
            (
                A.replace("-----BEGIN", "\u{2014}BEGIN"),
                "line 1: misspelt, or not alone",
            ),
            (
                A.replace("-----BEGIN CERTIFICATE-----\n", ""),
                "line 2: \"-----END\" without",
            ),
            (
                format!("{}{B}", A.replace("-----END CERTIFICATE-----\n", "")),
                "line 3: a section begins before that of line 1 has ended",
            ),
            (
                A.replace("-----END CERTIFICATE-----\n", ""),
                "line 1: the section has no end: \"-----END CERTIFICATE-----\" is missing",
            ),
            (
                A.replace("END CERTIFICATE", "END X509 CRL"),
                "line 3: another end than \"-----END CERTIFICATE-----\", for the section of line 1",
            ),
            (
                A.replace("Jj\n", "Jj"),
                "line 2: \"-----END\" has to be at the beginning",
            ),
            (
                A.replace("YWJj", "YWJ"),
                "line 1: the section is damaged: its base64 is cut off",
            ),
            (
                A.replace("YWJj", "YWJj\n!"),
                "line 3: not base64, in the section \"CERTIFICATE\" of line 1",
            ),
            (
                A.replace("YW", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nYW"),
                "line 2: the key is encrypted in an old format: \"openssl pkcs8",
            ),
        ] {
            let refused = read(&text).unwrap_err();
            assert!(refused.starts_with(reason), "{text}\n{refused}");
        }
        let utf_16: Vec<u8> = [0xfeff]
            .into_iter()
            .chain(A.encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect();
        assert!(sections(&utf_16).is_err_and(|reason| reason.contains("UTF-16")));
    }

    proptest! {
        /// Lines of sections, whole and cut, in any order.
        #[test]
        fn a_text_has_as_many_sections_as_it_has_beginnings(
            parts in proptest::collection::vec(
                prop::sample::select(&[
                    A, B, "-----BEGIN", " CERTIFICATE-----", "\n", " ", "\u{feff}", "YWJj",
                    "-----END", "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----",
                ][..]),
                0..12,
            )
        ) {
            let text = parts.concat();
            if let Ok(sections) = read(&text) {
                prop_assert_eq!(sections.len(), text.matches("-----BEGIN").count());
            }
        }
    }
}
