//! A session as text and back, so that a recording can begin in the middle of a conversation.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Session;
use crate::dialect::{self, Dialect};
use crate::profile::Profile;
use crate::recording::{escaped, unescape};

impl Session {
    /// The whole state as one line of JSON. What was not taken yet (bytes to write, events) is not part of it.
    ///
    /// # Errors
    /// Why it cannot be written; no state that a machine can bring about is known to be one.
    pub fn freeze(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }

    /// A session in a state that was frozen.
    ///
    /// # Errors
    /// Why the text is no such state.
    pub fn thaw(state: &str) -> Result<Self, String> {
        serde_json::from_str(state).map_err(|error| error.to_string())
    }
}

/// A dialect by its name.
pub(super) mod dialect_name {
    use super::{Deserialize, Deserializer, Dialect, Serializer, de, dialect};

    pub(in super::super) fn serialize<S: Serializer>(
        dialect: &&'static dyn Dialect,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(dialect.habits().name)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<&'static dyn Dialect, D::Error> {
        let name = String::deserialize(deserializer)?;
        dialect::named(&name).ok_or_else(|| de::Error::custom(format!("there is no dialect `{name}`")))
    }
}

/// A profile that is shared.
pub(super) mod shared_profile {
    use super::{Arc, Deserialize, Deserializer, Profile, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(profile: &Arc<Profile>, serializer: S) -> Result<S::Ok, S::Error> {
        profile.as_ref().serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Profile>, D::Error> {
        Profile::deserialize(deserializer).map(Arc::new)
    }
}

/// Bytes of a program as text.
pub(crate) mod program_bytes {
    use super::{Deserialize, Deserializer, Serializer, de, escaped, unescape};

    #[expect(clippy::borrowed_box, reason = "the field's type is what serde hands over")]
    pub(crate) fn serialize<S: Serializer>(bytes: &Box<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escaped(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<[u8]>, D::Error> {
        let text = String::deserialize(deserializer)?;
        unescape(&text).map(Vec::into_boxed_slice).ok_or_else(|| de::Error::custom("these are no bytes"))
    }
}
