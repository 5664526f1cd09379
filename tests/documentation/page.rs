//! A page of the manual, read from its mdoc source.

use std::collections::BTreeSet;

/// A manual page.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    pub(crate) name: &'static str,
    source: &'static str,
}

/// An item of a list that is not part of another list.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) section: String,
    /// Empty where there is none.
    pub(crate) subsection: String,
    /// The text after `.It`.
    pub(crate) tag: String,
    /// Its `.Dl` lines.
    pub(crate) examples: Vec<String>,
    /// Everything below its tag, in mdoc but for the escapes.
    pub(crate) text: String,
}

impl Page {
    pub(crate) const fn new(name: &'static str, source: &'static str) -> Self {
        Self { name, source }
    }

    /// The mdoc source.
    pub(crate) fn source(self) -> &'static str {
        self.source
    }

    /// Every item of the page, in its order.
    pub(crate) fn items(self) -> impl Iterator<Item = Item> {
        let (mut items, mut section, mut depth) = (Vec::<Item>::new(), String::new(), 0);
        let mut subsection = String::new();
        for line in self.source.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            if let Some(item) = items.last_mut() {
                item.text.push('\n');
                item.text.push_str(&text_of(line));
            }
            match word {
                ".Sh" => (section, subsection) = (rest.to_owned(), String::new()),
                ".Ss" => subsection = rest.to_owned(),
                ".Bl" => depth += 1,
                ".El" => depth -= 1,
                ".It" if depth == 1 => items.push(Item {
                    section: section.clone(),
                    subsection: subsection.clone(),
                    tag: rest.to_owned(),
                    examples: Vec::new(),
                    text: String::new(),
                }),
                ".Dl" => items.last_mut().unwrap().examples.push(text_of(rest)),
                _ => {}
            }
        }
        items.into_iter()
    }

    /// The items of some sections.
    pub(crate) fn items_in<'a>(self, sections: &'a [&str]) -> impl Iterator<Item = Item> + 'a {
        let sections = |item: &Item| sections.contains(&item.section.as_str());
        self.items().filter(sections)
    }

    /// What the tags in some sections have after this macro.
    pub(crate) fn tagged(self, sections: &[&str], name: &str) -> BTreeSet<String> {
        let items = self.items_in(sections);
        items.flat_map(|item| item.named(name)).collect()
    }

    /// The literal displays of a section.
    pub(crate) fn displays(self, section: &str) -> Vec<String> {
        let (_, body) = self
            .source
            .split_once(&format!("\n.Sh {section}\n"))
            .unwrap();
        displays(body.split("\n.Sh ").next().unwrap())
    }

    /// The literal displays of the whole page.
    pub(crate) fn all_displays(self) -> Vec<String> {
        displays(self.source)
    }
}

impl Item {
    /// The words of the tag that come after this macro: `Fl D , Fl -debug` has `D` and `-debug`.
    pub(crate) fn named(&self, name: &str) -> Vec<String> {
        let words: Vec<&str> = self.tag.split(' ').collect();
        let pairs = words.windows(2).filter(|pair| pair[0] == name);
        pairs.map(|pair| pair[1].to_owned()).collect()
    }

    /// Whether the item needs an example.
    pub(crate) fn is_tried(&self) -> bool {
        !self.tag.is_empty() && self.section != "FILES"
    }
}

fn displays(source: &str) -> Vec<String> {
    let displays = source.split("\n.Bd -literal -offset indent\n").skip(1);
    displays
        .map(|display| text_of(display.split("\n.Ed").next().unwrap()))
        .collect()
}

/// Text without mdoc escapes.
fn text_of(source: &str) -> String {
    let text = source.replace("\\(dq", "\"").replace("\\e", "\\");
    let text = text.replace("\\&", "").replace("\\-", "-");
    assert!(!text.contains("\\("), "{text}");
    text
}
