//! A point's value in registers: how it is read from them and written into them.

use serde::Serialize;

use super::{Form, Order, Point};

/// A value as the world sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A number, scaled.
    Number(f64),
    /// Bits, bit 0 lowest.
    Bits(u16),
    /// Text, without the zeros and spaces that fill it up.
    Text(String),
}

impl Value {
    /// The value as a number; a text is none.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Bits(bits) => Some(f64::from(*bits)),
            Self::Text(_) => None,
        }
    }
}

/// Reads a point's value from its registers. `None`: too few of them, or bits that are no number (a NaN).
pub fn decode(point: &Point, words: &[u16]) -> Option<Value> {
    let words = words.get(..usize::from(point.size()))?;
    if point.form == Form::Bits || point.table.is_bits() {
        return Some(Value::Bits(swap_one(point.order, words[0])));
    }
    let raw = match point.form {
        Form::Ascii => return Some(Value::Text(text(point.order, words))),
        Form::U16 | Form::Bits => f64::from(swap_one(point.order, words[0])),
        Form::I16 => f64::from(i16::from_ne_bytes(swap_one(point.order, words[0]).to_ne_bytes())),
        Form::U32 => f64::from(two(point.order, words)),
        Form::I32 => f64::from(i32::from_ne_bytes(two(point.order, words).to_ne_bytes())),
        Form::F32 => f64::from(f32::from_bits(two(point.order, words))),
    };
    let value = raw * point.scale + point.offset;
    value.is_finite().then_some(Value::Number(value))
}

/// Writes a value into a point's registers.
///
/// # Errors
/// A sentence with the point's name: it may not be written, the value is outside its limits, or its form cannot hold it.
pub fn encode(point: &Point, value: f64) -> Result<Vec<u16>, String> {
    let name = &point.name;
    if !point.access.writes() {
        return Err(format!("`{name}` may only be read."));
    }
    if !value.is_finite() || point.min.is_some_and(|min| value < min) || point.max.is_some_and(|max| value > max) {
        let bound = |bound: Option<f64>| bound.map_or_else(|| "any".to_owned(), |bound| bound.to_string());
        return Err(format!("`{name}` takes {} to {}, not {value}.", bound(point.min), bound(point.max)));
    }
    if point.table.is_bits() {
        return Ok(vec![u16::from(value != 0.0)]);
    }
    let raw = (value - point.offset) / point.scale;
    let whole = |low: f64, high: f64| {
        let rounded = raw.round();
        if (low..=high).contains(&rounded) {
            Ok(rounded as i64)
        } else {
            Err(format!("`{name}`: {value} does not fit into its registers."))
        }
    };
    Ok(match point.form {
        Form::U16 | Form::Bits => vec![swap_one(point.order, whole(0.0, 65_535.0)? as u16)],
        Form::I16 => vec![swap_one(point.order, whole(-32_768.0, 32_767.0)? as u16)],
        Form::U32 => split(point.order, whole(0.0, f64::from(u32::MAX))? as u32),
        Form::I32 => split(point.order, whole(f64::from(i32::MIN), f64::from(i32::MAX))? as u32),
        Form::F32 => {
            let raw = raw as f32;
            if !raw.is_finite() {
                return Err(format!("`{name}`: {value} does not fit into its registers."));
            }
            split(point.order, raw.to_bits())
        }
        Form::Ascii => return Err(format!("`{name}` is a text, which cannot be written.")),
    })
}

/// The registers of a text, filled up with zeros; what has no room is left out.
pub fn encode_text(point: &Point, text: &[u8]) -> Vec<u16> {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    (0..usize::from(point.size()))
        .map(|at| swap_one(point.order, u16::from_be_bytes([byte(2 * at), byte(2 * at + 1)])))
        .collect()
}

fn swap_one(order: Order, word: u16) -> u16 {
    if matches!(order, Order::Badc | Order::Dcba) { word.swap_bytes() } else { word }
}

fn two(order: Order, words: &[u16]) -> u32 {
    let (first, second) = (swap_one(order, words[0]), swap_one(order, words[1]));
    let (high, low) = if matches!(order, Order::Abcd | Order::Badc) { (first, second) } else { (second, first) };
    u32::from(high) << 16 | u32::from(low)
}

fn split(order: Order, value: u32) -> Vec<u16> {
    let (high, low) = (swap_one(order, (value >> 16) as u16), swap_one(order, value as u16));
    if matches!(order, Order::Abcd | Order::Badc) { vec![high, low] } else { vec![low, high] }
}

fn text(order: Order, words: &[u16]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| swap_one(order, *word).to_be_bytes()).collect();
    let used = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes[..used]
        .iter()
        .map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '\u{fffd}' })
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
pub(crate) mod test {
    use proptest::prelude::*;

    use super::super::{Access, Table};
    use super::*;

    /// A point that may be read and written.
    pub(crate) fn point(form: Form, order: Order) -> Point {
        Point {
            name: "p".into(),
            table: Table::Holding,
            address: 0,
            form,
            order,
            registers: (form == Form::Ascii).then_some(4),
            scale: 1.0,
            offset: 0.0,
            unit: String::new(),
            poll_ms: 1000,
            min: None,
            max: None,
            access: Access::ReadWrite,
            meaning: None,
            values: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn every_order_of_a_long_value_is_read_as_its_letters_say() {
        // 0x0A0B0C0D: a is 0A, b is 0B, c is 0C, d is 0D.
        let orders = [
            (Order::Abcd, [0x0a0b, 0x0c0d]),
            (Order::Cdab, [0x0c0d, 0x0a0b]),
            (Order::Badc, [0x0b0a, 0x0d0c]),
            (Order::Dcba, [0x0d0c, 0x0b0a]),
        ];
        for (order, words) in orders {
            assert_eq!(decode(&point(Form::U32, order), &words), Some(Value::Number(f64::from(0x0a0b_0c0d_u32))));
        }
    }

    #[test]
    fn a_meters_float_and_a_text_are_read() {
        // 230.2 V as an Eastron SDM sends it.
        assert_eq!(
            decode(&point(Form::F32, Order::Abcd), &[0x4366, 0x3333]),
            Some(Value::Number(f64::from(230.2_f32)))
        );
        let words = [u16::from_be_bytes(*b"PL"), u16::from_be_bytes(*b"C "), 0, 0x4141];
        assert_eq!(decode(&point(Form::Ascii, Order::Abcd), &words), Some(Value::Text("PLC".into())));
    }

    #[test]
    fn a_text_is_written_as_it_is_read() {
        for order in [Order::Abcd, Order::Badc] {
            let point = point(Form::Ascii, order);
            let words = encode_text(&point, b"G1X10");
            assert_eq!(words.len(), 4);
            assert_eq!(decode(&point, &words), Some(Value::Text("G1X10".into())));
        }
        assert_eq!(encode_text(&point(Form::Ascii, Order::Badc), b"AB")[0], 0x4241);
    }

    #[test]
    fn too_few_registers_and_numbers_that_are_none_have_no_value() {
        assert_eq!(decode(&point(Form::U32, Order::Abcd), &[1]), None);
        assert_eq!(decode(&point(Form::F32, Order::Abcd), &[0x7fc0, 0]), None);
    }

    #[test]
    fn a_value_outside_its_limits_is_refused_with_the_points_name() {
        let mut frequency = point(Form::U16, Order::Abcd);
        "frequency".clone_into(&mut frequency.name);
        (frequency.scale, frequency.min, frequency.max) = (0.01, Some(0.0), Some(400.0));
        assert_eq!(encode(&frequency, 123.45), Ok(vec![12_345]));
        for value in [400.1, -1.0, f64::NAN, f64::INFINITY] {
            assert!(encode(&frequency, value).unwrap_err().contains("`frequency`"));
        }
        frequency.max = None;
        assert!(encode(&frequency, 700.0).unwrap_err().contains("does not fit"));
        frequency.access = Access::Read;
        assert!(encode(&frequency, 1.0).unwrap_err().contains("only be read"));
    }

    fn forms() -> impl Strategy<Value = Form> {
        prop::sample::select(vec![Form::U16, Form::I16, Form::U32, Form::I32, Form::F32, Form::Bits])
    }

    fn orders() -> impl Strategy<Value = Order> {
        prop::sample::select(vec![Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba])
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(form in forms(), order in orders(), raw in -40_000_i64..5_000_000_000, tenths in 1_i32..100) {
            let mut point = point(form, order);
            point.scale = f64::from(tenths) / 10.0;
            point.offset = f64::from(tenths) - 3.0;
            let value = raw as f64 * point.scale + point.offset;
            if let Ok(words) = encode(&point, value) {
                prop_assert_eq!(words.len(), usize::from(point.size()));
                if form != Form::Bits {
                    let back = decode(&point, &words).and_then(|value| value.number()).unwrap();
                    let step = if form == Form::F32 { value.abs() * 1e-6 } else { point.scale / 2.0 };
                    prop_assert!((back - value).abs() <= step + 1e-6, "{} {}", back, value);
                }
            }
        }

        #[test]
        fn no_registers_and_no_value_bring_it_down(form in forms(), order in orders(), words in prop::collection::vec(any::<u16>(), 0..4), value in any::<f64>()) {
            let point = point(form, order);
            let _ = decode(&point, &words);
            let _ = encode(&point, value);
        }
    }
}
