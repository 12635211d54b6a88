//! Tables of `docs/control.md`: made by what the session does, and held against what is written.

use std::collections::BTreeMap;
use std::path::Path;

/// What most dialects do, and those that do otherwise.
pub fn cell(by_dialect: &[(&str, String)]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, what) in by_dialect {
        *counts.entry(what.as_str()).or_default() += 1;
    }
    let Some(most) = counts.iter().max_by_key(|(_, count)| **count).map(|(what, _)| (*what).to_owned()) else {
        return "–".to_owned();
    };
    let others = by_dialect.iter().filter(|(_, what)| *what != most).map(|(name, what)| format!("{name}: {what}"));
    let others: Vec<_> = others.collect();
    if others.is_empty() { most } else { format!("{most} ({})", others.join("; ")) }
}

/// Puts a table into the document, or checks that it is there.
pub fn check(name: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/control.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (start, end) = (format!("<!-- matrix: {name} -->\n"), "<!-- end -->");
    let from = text.find(&start).unwrap_or_else(|| panic!("no table `{name}`")) + start.len();
    let to = from + text[from..].find(end).unwrap();
    if std::env::var("MATRIX").as_deref() == Ok("write") {
        std::fs::write(&path, format!("{}{table}{}", &text[..from], &text[to..])).unwrap();
        return;
    }
    for (written, done) in text[from..to].lines().zip(table.lines()) {
        assert_eq!(written, done, "docs/control.md, {name}");
    }
    assert_eq!(text[from..to].lines().count(), table.lines().count(), "docs/control.md, {name}");
}
