//! What a device's alarm points say, in its profile's words.

use crate::modbus::{Meaning, Point, Value};
use crate::snapshot::PointReading;

/// What is wrong, a sentence for each thing; nothing where nothing is, or where it could not be read.
pub(super) fn of(points: &[Point], readings: &[PointReading]) -> Option<String> {
    let alarms = points.iter().zip(readings).filter(|(point, _)| point.meaning == Some(Meaning::Alarm));
    let said: Vec<_> = alarms.filter_map(|(point, known)| said(point, &known.reading.as_ref()?.value)).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn said(point: &Point, value: &Value) -> Option<String> {
    match value {
        Value::Text(_) => None,
        Value::Number(number) if *number == 0.0 => None,
        Value::Number(number) => {
            let named = point.values.get(&(number.round() as i64).to_string()).cloned();
            Some(named.unwrap_or_else(|| format!("fault {number}")))
        }
        // One bit is not one of sixteen: what it means is that it is on.
        Value::Bits(bit) if point.table.is_bits() => {
            let named = point.values.get(&bit.to_string()).cloned();
            (*bit != 0).then(|| named.unwrap_or_else(|| format!("`{}` is on", point.name)))
        }
        Value::Bits(0) if point.values.is_empty() => None,
        Value::Bits(bits) if point.values.is_empty() => Some(format!("fault bits {bits:016b}")),
        Value::Bits(bits) => {
            let is_so = |key: &str| {
                let (wanted, digits) = key.strip_prefix('!').map_or((true, key), |digits| (false, digits));
                digits.parse::<u32>().is_ok_and(|bit| (bits >> bit.min(15) & 1 == 1) == wanted)
            };
            let named: Vec<_> =
                point.values.iter().filter(|(key, _)| is_so(key)).map(|(_, said)| said.as_str()).collect();
            (!named.is_empty()).then(|| named.join("; "))
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn told(point: &str, word: u16) -> Option<String> {
        let text = format!("name = 'status'\naddress = 1\nmeaning = 'alarm'\n{point}");
        let point: Point = toml::from_str(&text).unwrap();
        said(&point, &crate::modbus::value::decode(&point, &[word]).unwrap())
    }

    #[test]
    fn a_healthy_drives_status_word_was_fault_64049() {
        // A V20's bit 3 is its fault; 0xFA31 is a healthy one, 0xFA39 one with a fault.
        for point in ["type = 'u16'\nbit = 3", "type = 'bits'\nvalues = { 3 = 'a fault' }", "type = 'u16'\nmask = 8"] {
            assert_eq!(told(point, 0xfa31), None, "{point}");
            assert!(told(point, 0xfa39).is_some(), "{point}");
        }
        // Its bit 4 is 0 where something is wrong.
        let inverted = "type = 'bits'\nvalues = { '!4' = 'OFF2', 3 = 'a fault' }";
        assert_eq!(told(inverted, 0xfa31), None);
        assert_eq!(told(inverted, 0xfa29).as_deref(), Some("OFF2; a fault"));
    }

    #[test]
    fn numbers_and_bits_without_words_are_told_as_what_they_are() {
        assert_eq!(told("type = 'u16'", 0), None);
        assert_eq!(told("type = 'u16'", 9).as_deref(), Some("fault 9"));
        assert_eq!(told("type = 'u16'\nvalues = { 9 = 'overload' }", 9).as_deref(), Some("overload"));
        assert_eq!(told("type = 'bits'", 0b101).as_deref(), Some("fault bits 0000000000000101"));
        assert_eq!(told("table = 'coil'\ntype = 'bits'\nvalues = { 1 = 'tripped' }", 1).as_deref(), Some("tripped"));
    }
}
