//! Whether a machine can be where a configuration puts it.

use drivers::dialect::MotionEnd;
use drivers::modbus::address;
use drivers::profile::Profile;

/// Whether a machine of that profile can be on that port.
pub(super) fn fits(port: &str, profile: &Profile) -> Result<(), String> {
    if profile.network_only {
        return Err(format!(
            "`{}` is reached over its own network only, which this agent does not speak: programs can be checked for it, and none can be sent.",
            profile.name
        ));
    }
    let dialect = drivers::dialect::named(&profile.dialect);
    let registers = dialect.is_some_and(|dialect| dialect.habits().registers);
    for device in &profile.auxiliary {
        drivers::modbus::auxiliary::place(device, port)
            .map_err(|why| format!("`{}` beside the machine: {why}.", device.name))?;
        let proves = dialect.is_some_and(|dialect| dialect.habits().motion_end == MotionEnd::IdleReport);
        if device.is_spindle && !proves {
            return Err(format!(
                "`{}` beside the machine cannot be its spindle: the dialect `{}` does not report that motion has ended, and a drive is turned only then. Leave `is_spindle` out.",
                device.name, profile.dialect
            ));
        }
    }
    let keeps = dialect.is_some_and(|dialect| dialect.habits().keeps_lines());
    if keeps != profile.modbus.as_ref().is_some_and(|modbus| modbus.program.is_some()) {
        return Err("The dialect `program-file` and the profile's [modbus.program] belong together: one of the two is missing (docs/modbus.md).".to_owned());
    }
    match (address::is_modbus(port), registers) {
        (true, true) => {
            let address = address::Address::parse(port).map_err(|notice| notice.happened)?;
            let unit = address.unit.or(profile.modbus.as_ref().map(|modbus| modbus.unit)).unwrap_or(1);
            if address.way.has_unit(unit) { Ok(()) } else { Err(format!("Unit {unit} is no device on `{port}`.")) }
        }
        (false, false) => Ok(()),
        (true, false) => Err(format!(
            "`{port}` is a Modbus address, and the dialect `{}` is spoken over a line of text. A machine with a mailbox has the dialect `mailbox`.",
            profile.dialect
        )),
        (false, true) => Err(format!(
            "The dialect `{}` lives in Modbus registers. Write modbus-tcp://host:502 or modbus-rtu:{port}.",
            profile.dialect
        )),
    }
}
