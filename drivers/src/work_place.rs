//! Where a program would lie on a machine, by what the machine says of its offsets, and what preflight is told of it.

use std::collections::BTreeMap;

use gcode_tools::preflight::Conditions;
use serde::{Deserialize, Serialize};

use crate::agreement;
use crate::dialect;
use crate::profile::Profile;
use crate::protection::Setting;
use crate::snapshot::{Quality, Snapshot};

/// The work offsets in the order of their numbers.
const WORK_OFFSETS: [&str; 9] = ["G54", "G55", "G56", "G57", "G58", "G59", "G59.1", "G59.2", "G59.3"];

/// Where a program's zero is on the machine, as the machine says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkPlace {
    /// All offsets that count now added up, X Y Z in millimetres: `WCO`.
    pub work_offset_mm: Option<[f64; 3]>,
    /// Its list: `G54` to `G59`, `G92`, and `TLO` for the tool's length.
    pub offsets_mm: BTreeMap<String, [f64; 3]>,
    /// The codes in force: `G0 G54 G17 G21 G90 …`.
    pub codes: String,
    /// Whether its own coordinates can be relied on: it was homed since it was switched on, as far as that shows.
    pub homed: bool,
    /// The settings it was asked for, `$130` and the like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
}

impl WorkPlace {
    /// All offsets that count now added up, by its list and the codes in force. Reports say the sum only now and then.
    pub(crate) fn total(&self) -> Option<[f64; 3]> {
        let selected = self.codes.split_ascii_whitespace().find(|code| WORK_OFFSETS.contains(code))?;
        let offset = |name: &str| self.offsets_mm.get(name).copied();
        let (work, shift, tool) = (offset(selected)?, offset("G92")?, offset("TLO")?);
        Some(std::array::from_fn(|axis| work[axis] + shift[axis] + tool[axis]))
    }

    /// Whether an offset of that name is one that is kept.
    pub(crate) fn is_offset(name: &str) -> bool {
        WORK_OFFSETS.contains(&name) || matches!(name, "G92" | "TLO")
    }
}

/// Whether a machine of that profile says where its zero is when it is asked.
pub fn is_asked(profile: &Profile) -> bool {
    dialect::named(&profile.dialect).is_some_and(|dialect| !dialect.habits().place.is_empty())
}

/// Whether the machine has said all that it is asked for.
pub fn is_told(snapshot: &Snapshot) -> bool {
    snapshot.place.as_ref().is_some_and(|place| {
        place.work_offset_mm.is_some() && !place.codes.is_empty() && place.offsets_mm.contains_key("G54")
    })
}

/// What a program is to be checked against now.
pub fn conditions(snapshot: &Snapshot, profile: &Profile) -> Conditions {
    let mut conditions = Conditions { asked: true, ..Conditions::default() };
    let Some(place) = &snapshot.place else { return conditions };
    conditions.homed = place.homed || snapshot.homed;
    conditions.work_offset_mm = place.work_offset_mm;
    for (slot, name) in conditions.work_offsets_mm.iter_mut().zip(WORK_OFFSETS) {
        *slot = place.offsets_mm.get(name).copied();
    }
    conditions.shift_mm = place.offsets_mm.get("G92").copied();
    conditions.tool_mm = place.offsets_mm.get("TLO").copied();
    conditions.codes.clone_from(&place.codes);
    conditions.position_mm =
        snapshot.position_mm.filter(|reading| reading.quality == Quality::Good).map(|reading| reading.value);
    conditions.findings = agreement::differences(profile, &place.settings);
    conditions
}
