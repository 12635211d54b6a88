//! What tells this computer from every other one.

use sha2::{Digest as _, Sha256};

/// Where a Raspberry Pi (and any computer with a device tree) says its serial number: copies of a memory card differ in it.
const SERIAL_NUMBER: &str = "/sys/firmware/devicetree/base/serial-number";

/// The number of the installed system (machine-id(5)): the same on copies of a memory card.
const MACHINE_ID: &str = "/etc/machine-id";

/// 64 hexadecimal digits that are the same at each start with this `salt` on this computer, and that nobody else has.
pub(crate) fn unique(salt: &str) -> String {
    let mut digest = Sha256::new();
    for path in [SERIAL_NUMBER, MACHINE_ID] {
        digest.update(std::fs::read(path).unwrap_or_default());
    }
    digest.update(salt);
    digest.finalize().iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
}
