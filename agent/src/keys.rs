//! The life of the agent's key: read or made at the start, changed on request, and each change a fact of the log.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drivers::Notice;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::host::clock;
use crate::store::key::{self, Key};
use crate::store::{Class, Fact, KEY_STAMP, Store, Who};

/// Under which name the store keeps which key the agent had.
const DID: &str = "key_did";

/// The key as everybody has it: absent where none can be used.
pub(crate) type Current = watch::Sender<Option<Key>>;

/// Reads the key, or makes it. That it is another one than before is told; `kept` is what the store says, if it says
/// anything.
pub(crate) fn begin(store: &Store, folder: &Path, kept: Option<&[(String, String)]>) -> Current {
    let key = match Key::open(folder) {
        Ok(key) => key,
        Err(notice) => {
            tracing::error!(%notice, "the agent's key");
            store.tell([Fact::new(Class::Agent, json!({ "type": "trouble", "notice": notice }))], []);
            return watch::Sender::new(None);
        }
    };
    if let Some(kept) = kept {
        let did = key.did();
        let before = kept.iter().find(|(name, _)| name == DID).map(|(_, before)| before);
        if before.is_none_or(|before| *before != did) {
            let body = json!({ "type": "key_began", "did": did, "before": before });
            store.tell([Fact::new(Class::Agent, body)], []);
        }
        keep(store, folder, &key);
    }
    watch::Sender::new(Some(key))
}

/// Puts a new key in the place of the old one. The old one signs that it ends, where it can; one that was lost to somebody
/// else ends as `compromised`, and its word for that is worth nothing.
///
/// # Errors
/// No key could be made. The old one goes on.
pub(crate) async fn change(
    current: &Current,
    store: &Store,
    folder: PathBuf,
    who: Who,
    compromised: bool,
) -> Result<Value, Notice> {
    let (current, store) = (current.clone(), store.clone());
    let changed = tokio::task::spawn_blocking(move || {
        let mut done = Err(trouble());
        // Two at once take turns here.
        current.send_if_modified(|key| {
            done = Key::make(&folder).map(|new| {
                let at = clock::rfc3339(clock::wall_ms());
                let ended = key.as_ref().filter(|_| !compromised).map(|old| {
                    let statement = format!("fab-agent key ended\n{}\n{}\n{at}\n", old.did(), new.did());
                    STANDARD.encode(old.sign(statement.as_bytes()))
                });
                let body = json!({
                    "type": "key_ended", "did": key.as_ref().map(Key::did), "next": new.did(), "at": at,
                    "why": if compromised { "compromised" } else { "rotated" }, "signature": ended,
                });
                store.tell([Fact::new(Class::Agent, body.clone()).by(Some(who))], []);
                keep(&store, &folder, &new);
                *key = Some(new);
                body
            });
            done.is_ok()
        });
        done
    });
    changed.await.unwrap_or_else(|_| Err(trouble()))
}

fn keep(store: &Store, folder: &Path, key: &Key) {
    store.keep(DID, Some(key.did()));
    store.keep(KEY_STAMP, key::stamp(folder));
}

fn trouble() -> Notice {
    Notice::new("key.unchanged", "The key was not changed.", "The old one goes on.", "Try again.")
}
