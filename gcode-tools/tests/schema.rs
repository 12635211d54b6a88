//! The JSON Schemas in `docs/schema` are those of the types that `info` and `check` print.
#![allow(clippy::unwrap_used)] // A test that cannot go on should stop.

use gcode_tools::analysis::Info;
use gcode_tools::preflight::Verdict;
use std::path::Path;

/// Compares a schema with its file; with `SCHEMA=write` in the environment writes the file.
fn is_in_docs(name: &str, schema: &schemars::Schema) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema").join(name);
    let text = format!("{:#}\n", schema.clone().to_value());
    if std::env::var_os("SCHEMA").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, text, "{name} is not that of the types: SCHEMA=write cargo test -p gcode-tools --test schema");
}

#[test]
fn the_schemas_in_the_docs_are_those_of_the_types() {
    is_in_docs("info.json", &schemars::schema_for!(Info));
    is_in_docs("check.json", &schemars::schema_for!(Verdict));
}

#[test]
fn what_is_printed_has_what_the_schema_demands() {
    let schema = schemars::schema_for!(Info).to_value();
    let info = gcode_tools::analysis::analyse(&b"G21\nG1 X1 F1\n"[..], None).unwrap();
    let printed = serde_json::to_value(&info).unwrap();
    for key in schema["required"].as_array().unwrap() {
        assert!(printed.get(key.as_str().unwrap()).is_some(), "{key}");
    }
    for key in printed.as_object().unwrap().keys() {
        assert!(schema["properties"].get(key).is_some(), "{key} is not in the schema");
    }
}
