//! What the computer itself says of its supply: a Raspberry Pi knows when its voltage is too low.

use drivers::doctor::Surroundings;

/// Where the Raspberry Pi's firmware driver says it (`raspberrypi-hwmon`, kernel 4.14 and later).
const THROTTLED: &str = "/sys/devices/platform/soc/soc:firmware/get_throttled";

/// Names another file with the same bits, for boards that say it elsewhere.
const ELSEWHERE: &str = "FAB_AGENT_THROTTLED";

/// Bit 0: the voltage is too low now. Bit 16: it was since the start (`vcgencmd get_throttled` in the documentation).
const LOW_NOW: u32 = 1;
const LOW_SINCE_START: u32 = 1 << 16;

/// Reads it; unknown on other computers.
pub fn read() -> Surroundings {
    let path = std::env::var_os(ELSEWHERE).unwrap_or_else(|| THROTTLED.into());
    std::fs::read_to_string(path).map(|text| parse(&text)).unwrap_or_default()
}

fn parse(text: &str) -> Surroundings {
    let text = text.trim();
    let Ok(bits) = u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16) else {
        return Surroundings::default();
    };
    Surroundings {
        undervoltage: Some(bits & LOW_NOW != 0),
        undervoltage_since_start: Some(bits & LOW_SINCE_START != 0),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_bits_of_a_pi_are_read_and_nonsense_is_unknown() {
        let told = |now, since| Surroundings { undervoltage: Some(now), undervoltage_since_start: Some(since) };
        assert_eq!(parse("50005\n"), told(true, true));
        assert_eq!(parse("0x50000"), told(false, true));
        assert_eq!(parse("0\n"), told(false, false));
        assert_eq!(parse(""), Surroundings::default());
    }
}
