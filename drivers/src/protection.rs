//! What happens to a machine if its host dies now, hazard by hazard: from what the firmware is and says of itself.
//!
//! Sources: Marlin `src/gcode/control/M85.cpp` and `idle()` in `src/MarlinCore.cpp` (M85 halts when nothing moved for
//! so long), `src/gcode/temp/M86-M87.cpp`; Prusa-Firmware `Marlin_main.cpp` (safety timer, 30 minutes); Grbl 1.1 wiki
//! "Laser Mode" ($32, M4); grblHAL `sleep.c` ($62: five minutes in idle, hold or alarm with something turned on and
//! nothing heard); Klipper's configuration reference (`idle_timeout`, 600 s). What is not known counts as unprotected.

use crate::dialect::{Habits, StopHabit};
use crate::modbus::AuxiliaryKind;
use crate::profile::{Kind, Profile};
use crate::snapshot::{Identity, Protection, StopWord};

/// What the machine has said of its settings, as key and value: `$32` and `1`, `M86` and `S300 T180`.
pub type Setting = (String, String);

/// What happens to each hazard of this machine if its host dies now.
pub fn of(
    habits: &Habits,
    profile: &Profile,
    identity: &Identity,
    settings: &[Setting],
    armed_s: Option<u32>,
) -> Vec<Protection> {
    // A controller behind registers tells of itself elsewhere.
    if habits.registers {
        return Vec::new();
    }
    let known = Known { habits, identity, settings, armed_s };
    let mut protection = Vec::new();
    let mut tell = |hazard: &'static str, (protected, because): (bool, String)| {
        protection.push(Protection { hazard: hazard.into(), protected, because });
    };
    if profile.heat.is_some() {
        tell("heaters", known.heaters());
    }
    if profile.laser.is_some() || profile.kind == Kind::Laser {
        tell("laser", known.laser(profile));
    }
    // A drive beside the machine has its own watchdog, and says so.
    if profile.spindle.is_some() && !has_drive(profile) && profile.kind == Kind::Mill {
        tell("spindle", known.spindle());
    }
    tell("motion", known.motion(profile));
    if profile.kind != Kind::Printer {
        tell("door", door(profile));
    }
    protection
}

/// Whether a drive stands beside the machine. A meter there turns nothing.
pub(crate) fn has_drive(profile: &Profile) -> bool {
    profile.auxiliary.iter().any(|device| device.kind == AuxiliaryKind::Drive)
}

/// How an emergency stop acts on this machine. A profile that says how it was built wins over what it reports.
pub fn stop(habits: &Habits, profile: &Profile, identity: &Identity) -> StopWord {
    let reported = identity.capabilities.iter().any(|capability| capability == "EMERGENCY_PARSER");
    let (at_once, because) = match habits.stop {
        StopHabit::AtOnce => (true, "the firmware acts on the stop as it arrives, whatever waits before it"),
        StopHabit::Parser if profile.safety.emergency_parser.unwrap_or(reported) => {
            (true, "the firmware looks for M112 and M108 in all that arrives (EMERGENCY_PARSER)")
        }
        StopHabit::Parser => (
            false,
            "the firmware was built without EMERGENCY_PARSER: it reads M112 only when its queue has room, behind the \
             moves and waits before it; use the switch",
        ),
        StopHabit::InTurn => (false, "the firmware comes to the stop only after the lines before it; use the switch"),
    };
    StopWord { at_once, because: because.to_owned() }
}

struct Known<'a> {
    habits: &'a Habits,
    identity: &'a Identity,
    settings: &'a [Setting],
    armed_s: Option<u32>,
}

impl Known<'_> {
    fn setting(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    fn on(&self, key: &str) -> Option<bool> {
        self.setting(key).map(|value| value.trim() != "0")
    }

    /// Marlin's hotend idle timeout, in seconds, where the machine says it has one that is on.
    fn idle_timeout_s(&self) -> Option<u32> {
        let seconds = self.setting("M86")?.split_whitespace().find_map(|word| word.strip_prefix('S'))?.parse().ok()?;
        Some(seconds).filter(|seconds| *seconds > 0)
    }

    fn heaters(&self) -> (bool, String) {
        if let Some(seconds) = self.armed_s {
            return (true, format!("the firmware halts itself when nothing moved for {seconds} s (M85, armed)"));
        }
        if let Some(seconds) = self.idle_timeout_s() {
            return (true, format!("the firmware turns them down after {seconds} s without motion (M86)"));
        }
        if self.identity.firmware.starts_with("Prusa-Firmware") {
            return (true, "the firmware's safety timer turns them off after 30 minutes, unless it was changed".into());
        }
        if self.habits.name == "klipper" {
            return (true, "Klipper turns them off after its idle_timeout, 10 minutes unless it was changed".into());
        }
        let arm = match self.habits.inactivity {
            Some(_) => "; `safety.inactivity_s` in the profile arms the firmware's own timer (M85)",
            None => "",
        };
        (false, format!("they stay hot for ever: the firmware has no timer that is on{arm}"))
    }

    fn laser(&self, profile: &Profile) -> (bool, String) {
        let mode = self.on("$32").or(profile.laser.as_ref().and_then(|laser| laser.laser_mode));
        let only_m4 = profile.laser.as_ref().is_some_and(|laser| laser.require_m4);
        match mode {
            Some(true) if only_m4 => {
                (true, "laser mode is on ($32=1) and programs must use M4: the beam goes off when motion ends".into())
            }
            Some(true) => (
                false,
                "laser mode is on ($32=1), but a program may use M3: then the beam stays on at standstill".into(),
            ),
            Some(false) => {
                (false, "laser mode is off ($32=0): the beam stays on at standstill; set $32=1 and use M4".into())
            }
            None => (false, "the machine does not say whether its laser mode is on".into()),
        }
    }

    fn spindle(&self) -> (bool, String) {
        match self.on("$62") {
            Some(true) => {
                (true, "the firmware goes to sleep 5 minutes after it stands still unheard ($62=1), spindle off".into())
            }
            Some(false) => (false, "it turns for ever; $62=1 lets the firmware turn it off".into()),
            None => (false, "it turns for ever: the firmware has no timer for it".into()),
        }
    }

    fn motion(&self, profile: &Profile) -> (bool, String) {
        let blocks =
            self.identity.planner_blocks.unwrap_or(profile.motion.planner_blocks.max(self.habits.planner_blocks));
        let bytes = self.identity.receive_buffer_bytes.or(profile.stream.receive_buffer_bytes);
        let bytes = bytes.map_or_else(|| "what it has received".to_owned(), |bytes| format!("{bytes} received bytes"));
        (true, format!("it ends by itself after what is planned (up to {blocks} moves) and {bytes}"))
    }
}

fn door(profile: &Profile) -> (bool, String) {
    if profile.safety.door_input {
        (true, "the firmware watches its door switch by itself".into())
    } else {
        (false, "no door switch is known: opening it stops nothing".into())
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::dialect;

    fn told(
        profile: &str,
        firmware: &str,
        settings: &[(&str, &str)],
        armed_s: Option<u32>,
    ) -> Vec<(String, bool, String)> {
        let profile = Profile::named(profile).unwrap();
        let habits = dialect::named(&profile.dialect).unwrap().habits();
        let identity = Identity { firmware: firmware.into(), ..Identity::default() };
        let settings: Vec<_> = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let protection = of(habits, &profile, &identity, &settings, armed_s);
        protection.into_iter().map(|hazard| (hazard.hazard.into_owned(), hazard.protected, hazard.because)).collect()
    }

    fn is_protected(hazards: &[(String, bool, String)], hazard: &str) -> bool {
        hazards.iter().find(|(name, ..)| name == hazard).unwrap_or_else(|| panic!("{hazard}: {hazards:?}")).1
    }

    #[test]
    fn heaters_are_safe_only_by_a_timer_that_is_on() {
        let marlin = |settings: &[(&str, &str)], armed| told("ender3", "Marlin 2.1.2", settings, armed);
        assert!(!is_protected(&marlin(&[], None), "heaters"));
        assert!(!is_protected(&marlin(&[("M86", "B0 E0 S0 T180")], None), "heaters"));
        assert!(is_protected(&marlin(&[("M86", "B0 E0 S300 T180")], None), "heaters"));
        assert!(is_protected(&marlin(&[], Some(1800)), "heaters"));
        assert!(is_protected(&told("prusa-mk3s", "Prusa-Firmware 3.13.3", &[], None), "heaters"));
    }

    #[test]
    fn a_stop_acts_at_once_only_where_the_firmware_looks_for_it() {
        let stop = |profile: &str, capabilities: &[&str]| {
            let profile = Profile::named(profile).unwrap();
            let habits = dialect::named(&profile.dialect).unwrap().habits();
            let capabilities = capabilities.iter().map(|name| (*name).to_owned()).collect();
            super::stop(habits, &profile, &Identity { capabilities, ..Identity::default() })
        };
        assert!(stop("grbl-mill-3018", &[]).at_once);
        assert!(stop("ender3", &["EMERGENCY_PARSER"]).at_once);
        let prusa = stop("prusa-mk3s", &["AUTOREPORT_TEMP"]);
        assert!(!prusa.at_once && prusa.because.contains("switch"), "Prusa's 8-bit firmware has no such parser");
    }

    #[test]
    fn a_laser_is_safe_only_in_laser_mode_with_m4() {
        let laser = |settings: &[(&str, &str)]| told("grbl-laser-400", "Grbl 1.1h", settings, None);
        assert!(is_protected(&laser(&[("$32", "1")]), "laser"));
        let off = laser(&[("$32", "0")]);
        assert!(!is_protected(&off, "laser"), "what the machine says wins over the profile");
        assert!(off.iter().any(|(_, _, because)| because.contains("$32=1")), "it says what to do");
    }

    #[test]
    fn a_meter_beside_a_mill_hid_the_hazard_of_its_spindle() {
        let mut profile = Profile::named("grbl-mill-3018").unwrap();
        let meter = "name = 'meter'\nkind = 'meter'\n[[modbus.points]]\nname = 'energy'\naddress = 0\ntype = 'u16'\n\
                     meaning = 'energy'";
        profile.auxiliary.push(toml::from_str(meter).unwrap());
        let habits = dialect::named(&profile.dialect).unwrap().habits();
        let hazards = of(habits, &profile, &Identity::default(), &[], None);
        assert!(hazards.iter().any(|hazard| hazard.hazard == "spindle" && !hazard.protected), "{hazards:?}");
    }

    #[test]
    fn a_spindle_is_safe_only_where_the_firmware_sleeps() {
        assert!(!is_protected(&told("grbl-mill-3018", "Grbl 1.1h", &[("$32", "0")], None), "spindle"));
        assert!(!is_protected(&told("grbl-mill-3018", "grblHAL", &[("$62", "0")], None), "spindle"));
        assert!(is_protected(&told("grbl-mill-3018", "grblHAL", &[("$62", "1")], None), "spindle"));
    }
}
