//! The configuration's JSON Schema, for editors that complete and check TOML.

use serde_json::{Value, json};

use super::http::{CONNECTIONS_PER_CLIENT_MAX, NAMES_MAX};
use super::{ASKS_FOR_CLEAR, MACHINES_MAX};

fn text(what: &str) -> Value {
    json!({ "type": "string", "description": what })
}

fn number(what: &str, min: u64, max: u64) -> Value {
    json!({ "type": "integer", "minimum": min, "maximum": max, "description": what })
}

#[expect(clippy::needless_pass_by_value, reason = "`json!` makes a value each time")]
fn section(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required })
}

/// The configuration's JSON Schema, for editors that complete and check TOML.
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fab-agent configuration",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "agent": section(json!({
                "site": text("Which workshop this is; part of every MQTT topic."),
                "id": text("Which agent of the workshop this is."),
            }), &[]),
            "http": section(json!({
                "listen": text("Address and port of the page and the API."),
                "token_file": text("File with the token that clients must show; needed unless `listen` is loopback."),
                "connections_per_client":
                    number("Connections at once of one address; absent: 64 from the network.", 1, CONNECTIONS_PER_CLIENT_MAX),
                "without_token": { "enum": ["nothing", "read_and_stop", "everything"], "description":
                    "What somebody may who shows no token. Absent: nothing where there is a token file, and everything on this computer where there is none." },
                "socket": text("The socket through which the owner asks; absent: `agent.sock` in the store's folder."),
                "socket_users": { "type": "array", "maxItems": NAMES_MAX, "items": text("A user's name or number."),
                    "description": "Users who are the owner through the socket, besides root and the agent's own." },
                "hosts": { "type": "array", "maxItems": NAMES_MAX, "items": text("A name such as fab.example.org."),
                    "description": "Names under which browsers reach the agent without a token, as through a proxy." },
            }), &[]),
            "mqtt": section(json!({
                "host": text("The broker's name or address."),
                "port": number("The broker's port.", 1, 65_535),
                "version": { "enum": ["5", "3.1.1"], "description": "MQTT version." },
                "client_id": text("This client's name to the broker."),
                "user": text("User name."),
                "password_file": text("File with the password."),
                "interval_ms": number("Shortest time between two unhurried messages on a topic.", 100, 3_600_000),
                "tls": { "type": "boolean", "description": "Whether to speak TLS." },
                "ca_file": text("Certificates of the authorities to trust; absent: the system's."),
                "client_certificate_file": text("This client's certificate."),
                "client_key_file": text("The key of this client's certificate."),
            }), &["host"]),
            "store": section(json!({
                "dir": text("Folder for programs and job records."),
                "program_max_mb": number("Largest program that is taken.", 1, 100_000),
                "reserve_mb": number("Megabytes that stay free on the disk.", 0, 1_000_000),
                "history_jobs": number("Jobs remembered after they ended.", 1, 100_000),
            }), &[]),
            "machine": machines(),
        },
    })
}

fn machines() -> Value {
    json!({ "type": "array", "maxItems": MACHINES_MAX, "items": section(json!({
                "id": text("The machine's name in topics and addresses."),
                "port": text("Device path or tcp://host:port."),
                "profile": text("Name of a bundled machine profile, or path of a TOML file; behind a colon the name of one of its variants."),
                "baud": { "anyOf": [
                    number("Bits per second, if not the profile's.", 300, 4_000_000),
                    { "const": "auto", "description": "Find it out, and remember it." },
                ] },
                "attach": { "enum": ["named", "as-configured"], "default": "named",
                    "description": "Whether it must name itself, or a person's word stands for that." },
                "clear": { "enum": ["said", "assumed"], "default": if ASKS_FOR_CLEAR { "said" } else { "assumed" },
                    "description": "Whether a person must say that the table is clear before a job starts." },
                "auxiliary": { "type": "array", "description": "Drives and meters beside the machine, written as in its profile (docs/modbus.md).", "items": {
                    "type": "object", "required": ["name"], "properties": {
                        "name": text("Its name, unique on the machine."),
                        "device": text("Name of a bundled device profile; `fab-agent modbus devices` lists them."),
                        "port": text("modbus-tcp://… or modbus-rtu:…"),
                        "is_spindle": { "type": "boolean", "description": "Whether it does what the program says with M3, M4, M5 and S." },
                    },
                } },
            }), &["id", "port", "profile"]) })
}
