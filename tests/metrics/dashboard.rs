//! The dashboard in `etc/grafana` uses metrics that exist, and the manual lists all of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::scrape::{CAT, Scrape, scrape_until, table};
use tlssrv_testing::Server;

/// Every expression of the dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        // The choice of a data source.
        Value::Object(object) if object.get("type").is_some_and(|kind| kind == "datasource") => {}
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(text)
                        if ["expr", "query", "definition"].contains(&key.as_str()) =>
                    {
                        found.push(text.clone());
                    }
                    value => expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

/// The words of a text that start with this.
fn words<'a>(text: &'a str, beginning: &str) -> Vec<&'a str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with(beginning)).collect()
}

/// Names of series, and of all labels.
fn names(scrape: &Scrape) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let (mut names, mut labels) = (BTreeSet::new(), BTreeSet::new());
    for series in scrape.0.keys() {
        let (name, rest) = series.split_once('{').unwrap_or((series, ""));
        names.insert(name);
        let pairs = rest.split("\",").filter_map(|pair| pair.split_once("=\""));
        labels.extend(pairs.map(|(label, _)| label));
    }
    (names, labels)
}

/// The name of the histogram that a series belongs to.
fn family(name: &str) -> &str {
    let family = name.strip_suffix("_bucket").or(name.strip_suffix("_sum"));
    family.or(name.strip_suffix("_count")).unwrap_or(name)
}

/// A scrape with every possible series.
fn of_everything() -> Scrape {
    let named = "[[host]]\nnames = [\"b.wild.example\"]\ncert = [\"cert.pem\"]\nconnect = \"localhost:9\"\n";
    let server = Server::with_config(&(table("", &[("a.example", CAT)]) + named));
    let mut client = server.connect("a.example");
    client.close_notify();
    client.read_to_end();
    scrape_until(&server, "a command has ended", |scrape| {
        !scrape.named("tlssrv_command_exits_total").is_empty()
    })
}

#[test]
fn the_manual_has_each_metric_with_its_labels_and_no_others() {
    let page = include_str!("../../etc/man/tlssrv.8").replace("\\(dq", "\"");
    let (_, section) = page.split_once("\n.Sh METRICS\n").unwrap();
    let section = section.split("\n.Sh ").next().unwrap();
    let examples = section.lines().filter_map(|line| line.strip_prefix(".Dl "));
    let examples = Scrape::parse(&examples.collect::<Vec<_>>().join("\n"));
    let labels = |scrape: &Scrape| -> BTreeSet<(String, Vec<String>)> {
        let of_series = |series: &String| {
            let (name, rest) = series.split_once('{').unwrap_or((series, ""));
            let pairs = rest.split("\",").filter_map(|pair| pair.split_once("=\""));
            let labels = pairs
                .map(|(label, _)| label.to_owned())
                .filter(|label| label != "le");
            (family(name).to_owned(), labels.collect())
        };
        scrape.0.keys().map(of_series).collect()
    };
    let tags = section
        .lines()
        .filter_map(|line| line.strip_prefix(".It Sy "));
    let tags: BTreeSet<String> = tags.map(str::to_owned).collect();
    let page = labels(&examples);
    assert_eq!(page, labels(&of_everything()));
    assert_eq!(tags, page.into_iter().map(|(name, _)| name).collect());
}

#[test]
fn each_metric_and_label_of_the_dashboard_is_in_a_scrape() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/grafana/tlssrv.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len(), "panels have ids of their own");
    let scrape = of_everything();
    let (names, labels) = names(&scrape);
    let (mut queries, mut asked) = (Vec::new(), BTreeSet::new());
    expressions(&dashboard, &mut queries);
    for query in &queries {
        let of_query = words(query, "tlssrv_");
        assert!(!of_query.is_empty(), "{query}");
        for name in of_query {
            assert!(names.contains(name), "{name} in {query}");
            asked.insert(name);
        }
        for by in query.split("by (").skip(1) {
            let by = by.split(')').next().unwrap();
            for label in by.split(", ") {
                assert!(labels.contains(label), "{label} in {query}");
            }
        }
    }
    assert!(queries.len() >= panels.len(), "{queries:?}");
    // Every metric must be used by the dashboard.
    let families = names.iter().map(|name| family(name));
    let unseen: BTreeSet<&str> = families
        .filter(|family| !asked.iter().any(|name| name.starts_with(family)))
        .collect();
    assert!(unseen.is_empty(), "not in the dashboard: {unseen:?}");
}
