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

/// Reads a point's value from its registers. `None`: too few of them, what stands there where there is no value, or bits
/// that are no number (a NaN, a digit above 9).
pub fn decode(point: &Point, words: &[u16]) -> Option<Value> {
    let words = words.get(..usize::from(point.size()))?;
    if point.table.is_bits() {
        return Some(Value::Bits(swap_one(point.order, words[0])));
    }
    if point.form == Form::Ascii {
        return Some(Value::Text(text(point.order, words)));
    }
    let raw = join(point.order, words);
    let width = 16 * words.len() as u32;
    if point.no_value.iter().any(|mark| raw == *mark as u64 & (u64::MAX >> (64 - width))) {
        return None;
    }
    if let Some(counts) = point.counts().map(u64::from) {
        return number(((raw & counts) >> counts.trailing_zeros()) as f64 * point.scale + point.offset);
    }
    let raw = match point.form {
        Form::Bits => return Some(Value::Bits(raw as u16)),
        Form::Ascii | Form::U16 | Form::U32 | Form::U64 => raw as f64,
        Form::I16 => f64::from(i16::from_ne_bytes((raw as u16).to_ne_bytes())),
        Form::I32 => f64::from(i32::from_ne_bytes((raw as u32).to_ne_bytes())),
        Form::I64 => i64::from_ne_bytes(raw.to_ne_bytes()) as f64,
        Form::F32 => f64::from(f32::from_bits(raw as u32)),
        Form::F64 => f64::from_bits(raw),
        Form::Bcd => digits(raw, width)? as f64,
    };
    number(raw * point.scale + point.offset)
}

fn number(value: f64) -> Option<Value> {
    value.is_finite().then_some(Value::Number(value))
}

/// The number whose decimal digits stand in four bits each.
fn digits(raw: u64, width: u32) -> Option<u64> {
    (0..width / 4).rev().try_fold(0, |number, digit| {
        let digit = raw >> (4 * digit) & 0xf;
        (digit <= 9).then_some(number * 10 + digit)
    })
}

/// The reverse.
fn in_digits(number: u64, width: u32) -> u64 {
    let digit = |place: u32| number / 10_u64.pow(place) % 10;
    (0..width / 4).fold(0, |raw, place| raw | digit(place) << (4 * place))
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
    let size = usize::from(point.size());
    let width = 16 * size as u32;
    let raw = (value - point.offset) / point.scale;
    let unfit = || format!("`{name}`: {value} does not fit into its registers.");
    // The lowest and the first number above the highest are powers of two or ten, which a float holds exactly.
    let whole = |low: f64, above: f64| {
        let rounded = raw.round();
        if low <= rounded && rounded < above { Ok(rounded) } else { Err(unfit()) }
    };
    let power = |base: f64, exponent: u32| (0..exponent).fold(1.0, |power, _| power * base);
    let bits = match point.form {
        Form::U16 | Form::Bits | Form::U32 | Form::U64 => whole(0.0, power(2.0, width))? as u64,
        Form::I16 | Form::I32 | Form::I64 => {
            let limit = power(2.0, width - 1);
            u64::from_ne_bytes((whole(-limit, limit)? as i64).to_ne_bytes())
        }
        Form::F32 if (raw as f32).is_finite() => u64::from((raw as f32).to_bits()),
        Form::F64 if raw.is_finite() => raw.to_bits(),
        Form::F32 | Form::F64 => return Err(unfit()),
        Form::Bcd => in_digits(whole(0.0, power(10.0, width / 4))? as u64, width),
        Form::Ascii => return Err(format!("`{name}` is a text, which cannot be written.")),
    };
    Ok(split(point.order, bits, size))
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

/// Whether the highest word of a value stands first.
fn high_first(order: Order) -> bool {
    matches!(order, Order::Abcd | Order::Badc)
}

/// The bits of one to four registers.
fn join(order: Order, words: &[u16]) -> u64 {
    let add = |bits: u64, word: &u16| bits << 16 | u64::from(swap_one(order, *word));
    if high_first(order) { words.iter().fold(0, add) } else { words.iter().rev().fold(0, add) }
}

/// The reverse.
fn split(order: Order, bits: u64, size: usize) -> Vec<u16> {
    let mut words: Vec<u16> = (0..size).rev().map(|at| swap_one(order, (bits >> (16 * at)) as u16)).collect();
    if !high_first(order) {
        words.reverse();
    }
    words
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
        let registers = matches!(form, Form::Ascii | Form::Bcd).then_some(4);
        let plain = Point::plain("p", Table::Holding, 0, form);
        Point { order, registers, poll_ms: 1000, access: Access::ReadWrite, ..plain }
    }

    #[test]
    fn every_order_of_a_64_bit_value_is_read_as_its_letters_say() {
        // 0x0001_0203_0405_0607 in the order of the standard, and in the three others.
        let wanted = Some(Value::Number(0x0001_0203_0405_0607_u64 as f64));
        for (order, words) in [
            (Order::Abcd, [0x0001, 0x0203, 0x0405, 0x0607]),
            (Order::Cdab, [0x0607, 0x0405, 0x0203, 0x0001]),
            (Order::Badc, [0x0100, 0x0302, 0x0504, 0x0706]),
            (Order::Dcba, [0x0706, 0x0504, 0x0302, 0x0100]),
        ] {
            assert_eq!(decode(&point(Form::U64, order), &words), wanted, "{order:?}");
        }
        // 12,345.678 kWh in watt-hours, as an iEM3155 has it at 0x0C83; and a float of 64 bits.
        let mut energy = point(Form::I64, Order::Abcd);
        energy.scale = 0.001;
        assert_eq!(decode(&energy, &[0, 0, 0x00bc, 0x614e]), Some(Value::Number(12_345.678)));
        assert_eq!(decode(&energy, &[0xffff, 0xffff, 0xffff, 0xfc18]), Some(Value::Number(-1.0)));
        assert_eq!(
            decode(&point(Form::F64, Order::Abcd), &[0x40fe, 0x240c, 0x9fbe, 0x76c9]),
            Some(Value::Number(123_456.789))
        );
    }

    #[test]
    fn digits_in_bcd_are_read_and_a_letter_among_them_is_no_number() {
        let mut count = point(Form::Bcd, Order::Abcd);
        count.registers = Some(2);
        assert_eq!(decode(&count, &[0x1234, 0x5678]), Some(Value::Number(12_345_678.0)));
        assert_eq!(decode(&count, &[0x123a, 0x5678]), None);
        assert_eq!(encode(&count, 9_876.0), Ok(vec![0, 0x9876]));
        assert!(encode(&count, 100_000_000.0).is_err());
    }

    #[test]
    fn one_bit_of_a_status_word_is_no_number_of_sixteen() {
        // A healthy V20 says 0xFA31; bit 3 is the fault.
        let mut fault = point(Form::U16, Order::Abcd);
        (fault.access, fault.bit) = (Access::Read, Some(3));
        assert_eq!(decode(&fault, &[0xfa31]), Some(Value::Number(0.0)));
        assert_eq!(decode(&fault, &[0xfa39]), Some(Value::Number(1.0)));
        // CiA 402: what bits 0 to 3, 5 and 6 make is the state; 0x27 is "operation enabled".
        (fault.bit, fault.mask) = (None, Some(0x6f));
        assert_eq!(decode(&fault, &[0x1637]), Some(Value::Number(f64::from(0x27))));
        (fault.form, fault.mask) = (Form::U32, Some(0x00ff_0000));
        assert_eq!(decode(&fault, &[0x1234, 0x5678]), Some(Value::Number(f64::from(0x34))));
    }

    #[test]
    fn what_stands_for_no_value_was_published_as_one() {
        for (form, mark, words) in [
            (Form::U16, 0xffff, vec![0xffff]),
            (Form::I16, -32_768, vec![0x8000]),
            (Form::U32, 0xffff_ffff, vec![0xffff, 0xffff]),
            (Form::I64, i64::MIN, vec![0x8000, 0, 0, 0]),
        ] {
            let mut marked = point(form, Order::Abcd);
            assert!(decode(&marked, &words).is_some());
            marked.no_value = vec![mark];
            assert_eq!(decode(&marked, &words), None, "{form:?}");
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
        prop::sample::select(vec![
            Form::U16,
            Form::I16,
            Form::U32,
            Form::I32,
            Form::F32,
            Form::Bits,
            Form::U64,
            Form::I64,
            Form::F64,
            Form::Bcd,
        ])
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
        fn no_registers_and_no_value_bring_it_down(form in forms(), order in orders(), words in prop::collection::vec(any::<u16>(), 0..6), value in any::<f64>()) {
            let point = point(form, order);
            let _ = decode(&point, &words);
            let _ = encode(&point, value);
        }
    }
}
