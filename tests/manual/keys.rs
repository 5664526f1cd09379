//! The keys of the table: those of the page, and those that the program says it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::TLSSRV_TOML_5;
use crate::example::{assert_passes_check, known_keys};

/// The sections of the page, and what their keys are part of.
const SECTIONS: [(&str, &str); 5] = [
    ("TOP LEVEL", ""),
    ("LOG", "log"),
    ("LIMITS", "limits"),
    ("LISTENERS", "listen"),
    ("HOSTS", "host"),
];

#[test]
fn the_page_has_the_keys_that_the_program_knows_and_no_others() {
    let mut known = known_keys();
    // Socket activation comes with a change of its own; then this line goes.
    known
        .get_mut("listen")
        .unwrap()
        .insert("systemd".to_owned());
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
fn the_examples_of_all_keys_make_a_table_that_check_accepts() {
    let mut sections = BTreeMap::new();
    for (section, table) in SECTIONS {
        let lines: Vec<String> = TLSSRV_TOML_5
            .items_in(&[section])
            .flat_map(|item| item.examples)
            // What says the same in another way.
            .filter(|line| !line.contains("= {") || table == "host")
            .filter(|line| !line.contains("= [{"))
            .filter(|line| !line.starts_with("systemd ="))
            .collect();
        sections.insert(table, lines.join("\n"));
    }
    let text = format!(
        "{}\n[log]\n{}\n[limits]\n{}\n[[listen]]\n{}\n[[host]]\n{}\n",
        sections[""], sections["log"], sections["limits"], sections["listen"], sections["host"]
    );
    assert_is_fine(&text);
}

#[test]
fn the_examples_in_whole_pass_check() {
    let displays = TLSSRV_TOML_5.displays("EXAMPLES");
    assert_eq!(displays.len(), 2);
    for display in displays {
        assert_is_fine(&display);
    }
    let short = TLSSRV_TOML_5.items_in(&["TOP LEVEL"]);
    let short: Vec<String> = short.flat_map(|item| item.examples).collect();
    assert_is_fine(&short.join("\n"));
}

/// As [`assert_passes_check`], with the PSK file that the page shows for every one that is named.
fn assert_is_fine(text: &str) {
    let displays = TLSSRV_TOML_5.displays("PSK FILES");
    let files = tempfile::tempdir().unwrap();
    let devices = &displays[0];
    // Who has no user is refused where the command becomes that of the identity, with a warning.
    let has_user = |line: &&str| line.split(':').nth(2).is_some_and(|user| !user.is_empty());
    let clients: Vec<&str> = devices.lines().filter(has_user).collect();
    fs::write(files.path().join("devices.psk"), devices).unwrap();
    fs::write(files.path().join("clients.psk"), clients.join("\n")).unwrap();
    assert_passes_check(text, files.path());
}
