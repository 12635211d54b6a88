//! What is known of devices before they are asked: a controller's own points as a device that is only read, and what was
//! checked when a drive was put into service.

use gcode_tools::profile::modbus::Commissioning;

use crate::modbus::{Auxiliary, AuxiliaryKind};
use crate::profile::Profile;
use crate::snapshot::{Beside, Hindrance, Protection};

/// The points of a machine's own controller, as a device that is only read; none where it has no points.
pub fn own_points(profile: &Profile, port: &str) -> Option<Auxiliary> {
    let modbus = profile.modbus.clone().filter(|modbus| !modbus.points.is_empty())?;
    Some(Auxiliary {
        name: "controller".to_owned(),
        kind: AuxiliaryKind::Readings,
        port: Some(port.to_owned()),
        modbus,
        stop: None,
        turn: None,
        device: None,
        is_spindle: false,
        commissioning: Commissioning::default(),
    })
}

/// What happens to a drive if the host dies now, by what was checked when it was put into service, and by what is known of
/// it. A drive that was told to stop and does not show that it stands is unprotected, whatever was checked.
pub fn protection(auxiliary: &Auxiliary, known: Option<&Beside>) -> Option<Protection> {
    if auxiliary.kind != AuxiliaryKind::Drive {
        return None;
    }
    let name = &auxiliary.name;
    if known.is_some_and(|known| known.hinders == Some(Hindrance::DoesNotStand)) {
        let because = format!("`{name}` is unprotected: it was told to stop and does not show that it stands");
        return Some(Protection { hazard: "spindle".into(), protected: false, because });
    }
    let checked = &auxiliary.commissioning;
    let (protected, because) = match (checked.hardwired_enable, checked.communication_loss_ms) {
        (true, Some(time_ms)) => (
            true,
            format!("`{name}` stops by itself after {time_ms} ms without its host, and a wire takes its enable away"),
        ),
        (false, Some(_)) => {
            (false, format!("`{name}` is unprotected: no wire takes its enable away with the emergency stop"))
        }
        (true, None) => {
            (false, format!("`{name}` is unprotected: it holds its last command for ever when its host is silent"))
        }
        (false, None) => (
            false,
            format!("`{name}` is unprotected: it holds its last command for ever, and no wire takes its enable away"),
        ),
    };
    Some(Protection { hazard: "spindle".into(), protected, because })
}
