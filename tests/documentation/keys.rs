//! The keys of the configuration file in the manual, compared with those that the program knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::TLSSRV_TOML_5;
use tlssrv_testing::examples::{assert_passes_check, known_keys, problems_of};

/// The sections of the page, and the tables that their keys belong to.
const SECTIONS: [(&str, &str); 7] = [
    ("TOP LEVEL", ""),
    ("LOG", "log"),
    ("LIMITS", "limits"),
    ("TICKETS", "tickets"),
    ("METRICS", "metrics"),
    ("LISTENERS", "listen"),
    ("HOSTS", "host"),
];

#[test]
fn the_page_has_the_keys_that_the_program_knows_and_no_others() {
    let known = known_keys();
    let page: BTreeMap<String, BTreeSet<String>> = SECTIONS
        .iter()
        .map(|(section, table)| {
            let keys = TLSSRV_TOML_5.tagged(&[section], "Ic");
            ((*table).to_owned(), keys)
        })
        .collect();
    assert_eq!(page, known);
}

#[test]
fn each_key_has_an_example_of_itself() {
    for item in TLSSRV_TOML_5.items().filter(|item| item.is_tried()) {
        let key = &item.named("Ic")[0];
        for example in &item.examples {
            let table: toml::Table = toml::from_str(example).unwrap();
            assert!(table.contains_key(key), "{key}: {example}");
        }
    }
}

#[test]
fn the_examples_of_all_keys_make_tables_that_check_accepts() {
    // A host has either a command or backends.
    for other in ["What it runs", "What it connects to"] {
        assert_is_fine(&table_of_examples(other));
    }
}

/// A configuration of the examples of all keys, except those of a subsection.
fn table_of_examples(without: &str) -> String {
    let mut sections = BTreeMap::new();
    for (section, table) in SECTIONS {
        let lines: Vec<String> = TLSSRV_TOML_5
            .items_in(&[section])
            .filter(|item| item.subsection != without)
            .flat_map(|item| item.examples)
            // Other ways to set the same keys.
            .filter(|line| !line.contains("= {") || table == "host")
            .filter(|line| !line.contains("= [{"))
            .filter(|line| !line.starts_with("systemd ="))
            .filter(|line| !line.starts_with("listen = \"unix:"))
            .collect();
        sections.insert(table, lines.join("\n"));
    }
    let tables = SECTIONS.map(|(_, table)| format!("{}{}\n", header(table), sections[table]));
    tables.concat()
}

#[test]
fn the_whole_tables_of_the_manual_pass_check() {
    let displays = TLSSRV_TOML_5.displays("EXAMPLES");
    assert_eq!(displays.len(), 2);
    for display in displays {
        assert_is_fine(&display);
    }
    let short = TLSSRV_TOML_5.items_in(&["TOP LEVEL"]);
    let short: Vec<String> = short.flat_map(|item| item.examples).collect();
    assert_is_fine(&short.join("\n"));
}

/// As [`assert_passes_check`], with the PSK file of the page in place of every PSK file.
fn assert_is_fine(text: &str) {
    let displays = TLSSRV_TOML_5.displays("PSK FILES");
    let files = tempfile::tempdir().unwrap();
    let devices = &displays[0];
    // Identities without a user would get a warning.
    let has_user = |line: &&str| {
        let user = line.split(':').nth(2);
        user.is_some_and(|user| !user.is_empty()) && !line.contains(":text:")
    };
    let clients: Vec<&str> = devices.lines().filter(has_user).collect();
    fs::write(files.path().join("devices.psk"), devices).unwrap();
    fs::write(files.path().join("clients.psk"), clients.join("\n")).unwrap();
    assert_passes_check(text, files.path());
}

/// The header of a table.
fn header(table: &str) -> String {
    match table {
        "" => String::new(),
        "listen" | "host" => format!("[[{table}]]\n"),
        _ => format!("[{table}]\n"),
    }
}

#[test]
fn the_page_lists_all_values_of_word_keys_and_all_limits() {
    let mut words_of_all = 0;
    for (section, table) in SECTIONS {
        for item in TLSSRV_TOML_5.items_in(&[section]) {
            let key = &item.named("Ic")[0];
            let header = header(table);
            // The message about a word key lists the possible words.
            let said = problems_of(&format!("{header}{key} = 0\n"));
            let lines = said.lines().filter(|line| line.contains(": expected \""));
            for words in lines.filter_map(|line| line.split_once(": expected ")) {
                let (words, _) = words.1.split_once(", found").unwrap();
                for word in words.split(" or ") {
                    assert!(
                        item.text.contains(&format!("\n.Ql {word}")),
                        "{key}: {word}"
                    );
                    words_of_all += 1;
                }
            }
        }
    }
    assert!(words_of_all >= 15, "{words_of_all}");

    let said = problems_of("[[host]]\nrlimits = { none = 1 }\ncommand = [\"cat\"]\n");
    let (_, known) = said.split_once("unknown; known are ").unwrap();
    let known: BTreeSet<&str> = known.lines().next().unwrap().split(", ").collect();
    let mut items = TLSSRV_TOML_5.items_in(&["HOSTS"]);
    let item = items.find(|item| item.tag == "Ic rlimits").unwrap();
    let lists = item
        .text
        .lines()
        .filter_map(|line| line.strip_prefix(".Cm "));
    let words = lists.flat_map(|line| line.split(' '));
    let page: BTreeSet<&str> = words
        .filter(|word| ![",", ".", "soft", "hard"].contains(word))
        .collect();
    assert_eq!(page, known);
}
