//! What one machine is sold or built as besides: a variant is the profile with some of its statements replaced.
//!
//! ```toml
//! [[variant]]
//! name = "20w"
//! title = "20 W module"
//! [variant.set.envelope_mm]
//! max = [400.0, 380.0, 1.0]
//! [variant.set.laser]
//! power_w = 20.0
//! ```

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{Problem, Profile, ProfileError, Step};

/// Statements that no variant replaces: they say which file this is.
const FIXED: [&str; 3] = ["name", "variant", "kind"];

/// Another form of the same machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Short stable name: lower case, digits and hyphens. It is chosen as `profile:name`.
    pub name: String,
    /// Name for people, put behind the machine's title.
    pub title: String,
    /// What it has otherwise: tables are merged into the profile's, everything else replaces what stands there.
    pub set: Table,
}

/// A profile's name or path, and the variant behind it, if one is named.
pub fn split(name: &str) -> (&str, Option<&str>) {
    name.rsplit_once(':').map_or((name, None), |(file, variant)| (file, Some(variant)))
}

/// Whether a name can stand in a file name, a topic and an address.
pub(super) fn is_short_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

impl Profile {
    /// This profile, or the named variant of it. `text` is the file it was read from.
    ///
    /// # Errors
    /// `profile.unknown` where there is no such variant, `profile.invalid` where it cannot be true.
    pub fn chosen(self, text: &str, variant: Option<&str>) -> Result<Self, ProfileError> {
        let Some(wanted) = variant else { return Ok(self) };
        let Some(variant) = self.variant.iter().find(|variant| variant.name == wanted) else {
            let names: Vec<_> = self.variant.iter().map(|variant| variant.name.as_str()).collect();
            let known =
                if names.is_empty() { "It has none.".to_owned() } else { format!("Known: {}.", names.join(", ")) };
            let message = format!(
                "The machine profile `{}` has no variant called `{wanted}`. {known} Name one of these, or none.",
                self.name
            );
            return Err(ProfileError { code: "profile.unknown", message });
        };
        let invalid =
            |why: String| ProfileError { code: "profile.invalid", message: format!("variant `{wanted}`: {why}") };
        let merged = merged(text, variant).map_err(invalid)?;
        let problems = merged.problems();
        let said: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        if said.is_empty() { Ok(merged) } else { Err(invalid(said.join("; "))) }
    }
}

/// What is wrong with a profile's variants.
pub(super) fn problems(text: &str, profile: &Profile) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, variant) in profile.variant.iter().enumerate() {
        let mut wrong = |why: String| {
            let place = [Step::Key("variant"), Step::Item(at)];
            problems.push(Problem::at(place, format!("variant `{}`: {why}", variant.name)));
        };
        if !is_short_name(&variant.name) {
            wrong("its name must be lower-case letters, digits and hyphens".to_owned());
        }
        if profile.variant[..at].iter().any(|earlier| earlier.name == variant.name) {
            wrong("there are two of this name".to_owned());
        }
        match merged(text, variant) {
            Ok(merged) => {
                for problem in merged.problems() {
                    wrong(problem.message);
                }
            }
            Err(why) => wrong(why),
        }
    }
    problems
}

/// The profile with what the variant sets.
fn merged(text: &str, variant: &Variant) -> Result<Profile, String> {
    if let Some(key) = FIXED.iter().find(|key| variant.set.contains_key(**key)) {
        return Err(format!("it cannot set `{key}`"));
    }
    let mut table: Table = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    table.remove("variant");
    merge(&mut table, &variant.set);
    let mut profile: Profile = table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
    profile.title = format!("{}, {}", profile.title, variant.title);
    Ok(profile)
}

fn merge(table: &mut Table, set: &Table) {
    for (key, value) in set {
        match (table.get_mut(key), value) {
            (Some(Value::Table(table)), Value::Table(set)) => merge(table, set),
            _ => drop(table.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const LASER: &str = "name = 'l'\ntitle = 'Laser'\nkind = 'laser'\ndialect = 'grbl'\n\
        [envelope_mm]\nmin = [0.0, 0.0, -1.0]\nmax = [400.0, 400.0, 1.0]\n[laser]\ns_max = 1000.0\npower_w = 10.0\n";

    fn with(variants: &str) -> String {
        format!("{LASER}{variants}")
    }

    #[test]
    fn a_variant_replaces_what_it_sets_and_nothing_else() {
        let text = with(
            "[[variant]]\nname = '20w'\ntitle = '20 W module'\n[variant.set.laser]\npower_w = 20.0\n\
             [variant.set.envelope_mm]\nmax = [400.0, 380.0, 1.0]\n",
        );
        let base = Profile::parse(&text).unwrap();
        assert_eq!(base.laser.as_ref().unwrap().power_w, Some(10.0));
        let chosen = base.chosen(&text, Some("20w")).unwrap();
        let laser = chosen.laser.as_ref().unwrap();
        assert_eq!((laser.power_w, laser.s_max, chosen.title.as_str()), (Some(20.0), 1000.0, "Laser, 20 W module"));
        let envelope = chosen.envelope_mm.unwrap();
        assert_eq!((envelope.min[0], envelope.max[1]), (0.0, 380.0));
    }

    #[test]
    fn a_variant_that_cannot_be_is_said_with_its_line() {
        let text = with(
            "[[variant]]\nname = '20W'\ntitle = 'x'\n[variant.set.envelope_mm]\nmax = [-1.0, 380.0, 1.0]\n\
             [[variant]]\nname = 'b'\ntitle = 'x'\nset = { speed = 1 }\n[[variant]]\nname = 'c'\ntitle = 'x'\nset = { name = 'y' }\n",
        );
        let error = Profile::parse(&text).unwrap_err().message;
        for part in ["line 11: variant `20W`: its name", "X runs from 0 to -1", "`speed`", "cannot set `name`"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn an_unknown_variant_names_those_there_are() {
        let text = with("[[variant]]\nname = '20w'\ntitle = 'x'\nset = { }\n");
        let error = Profile::parse(&text).unwrap().chosen(&text, Some("40w")).unwrap_err();
        assert!(error.code == "profile.unknown" && error.message.contains("20w"), "{error}");
    }
}
