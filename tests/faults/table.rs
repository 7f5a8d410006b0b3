//! The tables of `docs/faults.md`, and how a row is compared.

use oneaccess::Error;

pub const SETTINGS: &str = "When the client is made";
pub const WAY: &str = "On the way to the tenant";
pub const TRUST: &str = "Trust";
pub const PROXIES: &str = "Proxies";
pub const ANSWERS: &str = "Answers";

/// A message as a table documents it; `None` where the table has no such column.
struct Documented {
    section: String,
    message: String,
    kind: Option<String>,
    retryable: Option<bool>,
}

/// The code spans in the columns `message` of all tables.
fn documented() -> Vec<Documented> {
    let mut all = Vec::new();
    let mut section = "";
    let mut columns = Vec::new();
    for line in include_str!("../../docs/faults.md").lines() {
        section = line.strip_prefix("## ").unwrap_or(section);
        if !line.starts_with('|') {
            columns.clear();
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if columns.is_empty() {
            columns = cells;
            continue;
        }
        assert_eq!(cells.len(), columns.len(), "{line}");
        let cell = |name| columns.iter().position(|column| *column == name).map(|at| cells[at]);
        let retryable = cell("retryable, retried").map(|text| text.starts_with("yes"));
        for message in cell("message").unwrap_or_default().split('`').skip(1).step_by(2) {
            all.push(Documented {
                section: section.to_owned(),
                message: message.to_owned(),
                kind: cell("kind").map(str::to_owned),
                retryable,
            });
        }
    }
    all
}

impl Documented {
    fn is(&self, seen: &Seen) -> bool {
        self.kind.as_ref().is_none_or(|kind| *kind == seen.kind)
            && self.retryable.is_none_or(|retryable| retryable == seen.retryable)
            && matches(&self.message, &seen.message)
    }
}

/// Whether `text` is `pattern`, where `…` stands for at least one character.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, pattern)) = pattern.split_once('…') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    text.char_indices().skip(1).any(|(at, _)| matches(pattern, &text[at..]))
        || (pattern.is_empty() && !text.is_empty())
}

/// An error that was provoked, with the names of the documentation.
#[derive(Debug)]
pub struct Seen {
    message: String,
    kind: String,
    retryable: bool,
}

pub fn seen(error: &Error, replaced: &[(&str, &str)]) -> Seen {
    let mut message = error.to_string();
    for (from, to) in replaced {
        message = message.replace(from, to);
    }
    Seen {
        message,
        kind: format!("{:?}", error.kind()).to_uppercase(),
        retryable: error.is_retryable(),
    }
}

/// The rows of a section and what was provoked are the same.
pub fn compare(section: &str, all: &[Seen]) {
    let rows: Vec<_> = documented().into_iter().filter(|row| row.section == section).collect();
    let mut wrong = Vec::new();
    for row in rows.iter().filter(|row| !all.iter().any(|seen| row.is(seen))) {
        let Documented { message, kind, retryable, .. } = row;
        wrong.push(format!("documented, not provoked: {message} ({kind:?}, {retryable:?})"));
    }
    for seen in all.iter().filter(|seen| !rows.iter().any(|row| row.is(seen))) {
        let Seen { message, kind, retryable } = seen;
        wrong.push(format!("provoked, not documented: {message} ({kind}, {retryable})"));
    }
    assert!(wrong.is_empty() && !rows.is_empty(), "{section}: {wrong:#?}");
}

#[test]
fn every_section_with_messages_is_compared() {
    for row in documented() {
        let compared = [SETTINGS, WAY, TRUST, PROXIES, ANSWERS].contains(&row.section.as_str());
        assert!(compared, "{}: {}", row.section, row.message);
    }
}

#[test]
fn patterns_match_whole_messages() {
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("…: b", "a: b", true),
        ("…: b", ": b", false),
        ("…: b", "a: bc", false),
        ("a … c", "a b c", true),
        ("a …", "a b", true),
        ("a …", "a ", false),
        ("a … c …", "a b c d", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}
