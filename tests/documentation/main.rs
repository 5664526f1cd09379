//! The manual pages in `etc/man` and other documents: each is compared with the program, both ways, and its
//! examples are tried out.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may stop where they stand"
)]

mod completions;
mod connection;
mod examples;
mod exits;
mod keys;
mod kubernetes;
mod options;
mod page;

use std::path::Path;

use page::Page;
use tlssrv_testing::programs::{missing, program, run};

const TLSSRV_8: Page = Page::new("tlssrv.8", include_str!("../../etc/man/tlssrv.8"));
const TLSSRV_TOML_5: Page = Page::new("tlssrv.toml.5", include_str!("../../etc/man/tlssrv.toml.5"));

#[test]
fn mandoc_finds_no_fault_in_the_manual() {
    if missing(&["mandoc"]) {
        return;
    }
    let ran = run(program("mandoc")
        // The directory in which the pages find each other.
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/man"))
        .arg("-Tlint")
        .args([TLSSRV_TOML_5.name, TLSSRV_8.name]));
    // Manuals of other programs need not be installed here.
    let elsewhere = |line: &&str| {
        line.contains("referenced manual not found: Xr ") && !line.contains("Xr tlssrv")
    };
    let text = String::from_utf8(ran.stdout).unwrap();
    let faults: Vec<&str> = text.lines().filter(|line| !elsewhere(line)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_manual_no_longer_says_what_was_true_once() {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let pages = [TLSSRV_8, TLSSRV_TOML_5].map(|page| one_line(page.source()));
    for untrue in [
        "requested only by hosts with .Ic client-ca",
        "looks up no names itself",
        "a client whose user is root is refused",
        "reads the file that .Fl f names, and no other",
        "is served with .Fl a or .Fl A only",
        "and the slowest goes when there is one more",
    ] {
        assert!(!pages.iter().any(|page| page.contains(untrue)), "{untrue}");
    }
    assert!(pages[0].contains("asked for certificates by hosts with .Ic client-auth"));
}

#[test]
fn every_display_and_every_item_has_an_example() {
    for page in [TLSSRV_8, TLSSRV_TOML_5] {
        for item in page.items().filter(|item| item.is_tried()) {
            assert!(!item.examples.is_empty(), "{}: {}", page.name, item.tag);
        }
    }
}

#[test]
fn examples_are_rendered_as_they_are_written() {
    if missing(&["mandoc"]) {
        return;
    }
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for page in [TLSSRV_8, TLSSRV_TOML_5] {
        let mut rendered = String::new();
        let text = run(program("mandoc")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/man"))
            .args(["-Tascii", page.name]))
        .text();
        for letter in text.chars() {
            // Bold letters are overstruck, as on a typewriter.
            match letter {
                '\u{8}' => drop(rendered.pop()),
                letter => rendered.push(letter),
            }
        }
        let rendered = one_line(&rendered);
        let items = page.items().flat_map(|item| item.examples);
        let examples: Vec<String> = items.chain(page.all_displays()).collect();
        assert!(examples.len() > 40);
        for example in examples {
            assert!(rendered.contains(&one_line(&example)), "{example}");
        }
    }
}
