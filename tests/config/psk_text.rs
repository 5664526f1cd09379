//! PSK files with keys that are text, and files that are not plain UTF-8.

use std::fs;

use tlssrv_testing::pki::write_secret;

use crate::psk::{KEY, path, shows_no_key, site, with_psk};

#[test]
fn a_key_may_be_text_and_text_that_looks_like_digits_gets_a_warning() {
    let site = site("\u{feff}a:text:a key: with colons\r\nb:text:0123456789abcdef\n");
    let outcome = site.check(&with_psk(""));
    outcome.is_fine();
    assert_eq!(
        outcome.summary(),
        "ok: 1 listener, 1 host, 2 PSK identities"
    );

    write_secret(&path(&site), &format!("a:{KEY}\nb:text:{KEY}\n"));
    let outcome = site.check(&with_psk(""));
    let warning = format!(
        "{}:2: warning: the key after \"text\" is hexadecimal digits: where they stand for its bytes, as they do in \
         stunnel, write identity:hexkey\n",
        path(&site).display()
    );
    assert!(outcome.stderr.contains(&warning), "{}", outcome.stderr);
    shows_no_key(&outcome);
}

#[test]
fn a_psk_file_in_utf_16_is_refused_with_the_command_that_converts_it() {
    let site = site("");
    let utf_16 = format!("\u{feff}a:{KEY}\n");
    let utf_16: Vec<u8> = utf_16.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(path(&site), utf_16).unwrap();
    let message = format!(
        "unable to use PSK file {:?}: it is UTF-16 text: \"iconv -f UTF-16 -t UTF-8 FILE >NEW\" converts it",
        path(&site).display().to_string()
    );
    site.check(&with_psk("")).refuses("psk =", &message);
}
