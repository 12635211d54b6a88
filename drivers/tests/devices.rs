//! Every bundled device profile against a table of registers of its own, written from the manuals and the sources that other
//! hosts are built from, and not from the profile: what is read, and what is written to turn and to stop it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use drivers::Moment;
use drivers::modbus::{Attached, AuxiliaryKind, Device, Question, SpindleOrder, Table, Trouble, Turn};
use drivers::snapshot::SpindleState;

/// A write (function, address and word), and which registers read what then.
type WriteEffect = (u8, u16, u16, Vec<((Table, u16), u16)>);

/// A device that holds these registers and no others, and does what a write into one of them does.
struct Bench {
    registers: BTreeMap<(Table, u16), u16>,
    /// What writes lead to.
    effects: Vec<WriteEffect>,
    written: Vec<(u8, u16, u16)>,
}

impl Bench {
    fn ask(&mut self, question: &Question) -> Result<Vec<u16>, u8> {
        let function = question.function();
        let (address, word) = match question {
            Question::Read { table, address, count } => {
                let word = |at: u16| self.registers.get(&(*table, at)).copied().ok_or(2);
                return (*address..address + count).map(word).collect();
            }
            Question::WriteCoil { address, on } => (*address, u16::from(*on) * 0xff00),
            Question::WriteOne { address, word } => (*address, *word),
            Question::Write { address, words } if words.len() == 1 => (*address, words[0]),
            // No drive here takes several registers at once.
            Question::Write { .. } => return Err(2),
            Question::WriteCoils { .. } | Question::ReadWrite { .. } => return Err(1),
        };
        self.written.push((function, address, word));
        let known = self.effects.iter().find(|effect| (effect.0, effect.1, effect.2) == (function, address, word));
        let Some((_, _, _, reads)) = known else { return Err(3) };
        self.registers.extend(reads.iter().copied());
        Ok(Vec::new())
    }
}

/// Asks a device for a while in virtual time.
fn run(attached: &mut Attached, bench: &mut Bench, now: &mut Moment, time: Duration) {
    let until = *now + time;
    while *now < until {
        if let Some(question) = attached.question(*now) {
            match bench.ask(&question) {
                Ok(words) => attached.answered(*now, &question, &words),
                Err(code) => attached.unanswered(*now, &question, &Trouble::Exception(code)),
            }
        }
        *now = *now + Duration::from_millis(20);
    }
}

const H: Table = Table::Holding;
const I: Table = Table::Input;

/// A meter's registers, and what its points read.
type Metered = (&'static str, Vec<(Table, u16, Vec<u16>)>, Vec<(&'static str, f64)>);

fn meters() -> Vec<Metered> {
    let f32_words = |value: f32| vec![(value.to_bits() >> 16) as u16, value.to_bits() as u16];
    let swapped = |value: f32| vec![value.to_bits() as u16, (value.to_bits() >> 16) as u16];
    vec![
        // 1.25 kW, and 12,345,678,901 Wh: more than 32 bits hold.
        (
            "schneider-iem3155",
            vec![(H, 3059, f32_words(1.25)), (H, 3203, vec![0, 2, 0xdfdc, 0x1c35])],
            vec![("power", 1_250.0), ("energy", 12_345_678.901)],
        ),
        // -250.00 W, 49.98 Hz, 4,294,967,296 hundredths of a kWh.
        (
            "abb-b23",
            vec![(H, 0x5b14, vec![0xffff, 0x9e58]), (H, 0x5b2c, vec![4_998]), (H, 0x5000, vec![0, 1, 0, 0])],
            vec![("power", -250.0), ("frequency", 49.98), ("energy", 42_949_672.96)],
        ),
        (
            "sdm630",
            vec![
                (I, 0, f32_words(231.5)),
                (I, 52, f32_words(1_500.0)),
                (I, 70, f32_words(50.0)),
                (I, 72, f32_words(12.5)),
            ],
            vec![("voltage", 231.5), ("power", 1_500.0), ("frequency", 50.0), ("energy", 12.5)],
        ),
        (
            "sdm120",
            vec![(I, 0, f32_words(231.5)), (I, 6, f32_words(2.5)), (I, 12, f32_words(575.0)), (I, 72, f32_words(8.25))],
            vec![("voltage", 231.5), ("current", 2.5), ("power", 575.0), ("energy", 8.25)],
        ),
        (
            "dds238",
            vec![(H, 0, vec![0x0001, 0x86a0]), (H, 12, vec![2_301, 434, 0xff9c]), (H, 17, vec![5_001])],
            vec![("energy", 1_000.0), ("voltage", 230.1), ("current", 4.34), ("power", -100.0), ("frequency", 50.01)],
        ),
        (
            "pzem-004t",
            vec![(I, 0, vec![2_302, 0x1234, 0x0001, 0x2710, 0, 0x86a0, 0x0001, 499, 98, 0])],
            vec![("voltage", 230.2), ("current", 70.196), ("power", 1_000.0), ("energy", 100.0), ("frequency", 49.9)],
        ),
        (
            "shelly-pro-3em",
            vec![(I, 1013, swapped(345.5)), (I, 1162, swapped(2_500.0))],
            vec![("power", 345.5), ("energy", 2.5)],
        ),
        (
            "carlo-gavazzi-em340",
            vec![(I, 40, vec![0x3039, 0]), (I, 51, vec![500]), (I, 52, vec![0x86a0, 1])],
            vec![("power", 1_234.5), ("frequency", 50.0), ("energy", 10_000.0)],
        ),
    ]
}

#[test]
fn every_bundled_meter_is_read_as_its_own_documents_say() {
    let meters = meters();
    for (name, registers, wanted) in &meters {
        let device = Device::named(name).unwrap();
        assert_eq!(device.kind, AuxiliaryKind::Meter, "{name}");
        let mut attached = Attached::new(device.beside("meter"), Moment::ZERO);
        let registers = registers.iter().flat_map(|(table, from, words)| {
            (*from..).zip(words).map(|(address, word)| ((*table, address), *word)).collect::<Vec<_>>()
        });
        let mut bench = Bench { registers: registers.collect(), effects: Vec::new(), written: Vec::new() };
        let mut now = Moment::ZERO;
        run(&mut attached, &mut bench, &mut now, Duration::from_secs(8));
        let beside = attached.snapshot(now);
        for (point, value) in wanted {
            let read = beside.readings.iter().find(|known| known.name == *point).unwrap();
            let number = read.reading.as_ref().and_then(|reading| reading.value.number());
            assert!(
                number.is_some_and(|number| (number - value).abs() < 1e-6 * value.abs()),
                "{name} {point}: {read:?}"
            );
        }
        assert_eq!(beside.readings.len(), wanted.len(), "{name}: every point of it is in the table");
        assert!(attached.take_notice().is_none(), "{name}");
    }
    let known = Device::bundled().iter().filter(|(_, text)| Device::parse(text).unwrap().kind == AuxiliaryKind::Meter);
    assert_eq!(known.count(), meters.len(), "a meter without a table of its own");
}

/// A drive: the registers that it has at rest, the words that start it forward at 12,000 1/min (function, address, word,
/// in order), those that stop it, and the register that reads how fast it turns, with its word at that speed.
type Driven = (&'static str, Vec<(Table, u16, u16)>, Vec<(u8, u16, u16)>, (u8, u16, u16), Vec<((Table, u16), u16)>);

fn drives() -> Vec<Driven> {
    vec![
        (
            "huanyang-hy",
            vec![(I, 1, 0), (I, 2, 0), (I, 3, 0)],
            vec![(6, 257, 20_000), (6, 256, 1), (6, 257, 20_000)],
            (6, 256, 8),
            vec![((I, 1), 20_000)],
        ),
        (
            "huanyang-gt",
            vec![(H, 0x3000, 0), (H, 0x3002, 3_100), (H, 0x3005, 0), (H, 0x5000, 0)],
            vec![(6, 0x2000, 5_000), (6, 0x1000, 1), (6, 0x2000, 5_000)],
            (6, 0x1000, 5),
            vec![((H, 0x3000), 20_000)],
        ),
        (
            "h2a",
            vec![(H, 0x700c, 0)],
            vec![(6, 0x1000, 5_000), (6, 0x2000, 1), (6, 0x1000, 5_000)],
            (6, 0x2000, 6),
            vec![((H, 0x700c), 11_990)],
        ),
        (
            "h100",
            vec![(I, 0, 0), (I, 1, 0), (H, 5, 4_000), (H, 11, 1_000)],
            vec![(6, 0x0201, 2_000), (5, 0x49, 0xff00), (6, 0x0201, 2_000)],
            (5, 0x4b, 0xff00),
            vec![((I, 0), 2_000)],
        ),
        (
            "yl620",
            vec![(H, 0x200b, 0), (H, 0x0308, 1_000)],
            vec![(6, 0x2001, 2_000), (6, 0x2000, 0x12), (6, 0x2001, 2_000)],
            (6, 0x2000, 1),
            vec![((H, 0x200b), 2_000)],
        ),
        (
            "nowforever",
            vec![(H, 0x0502, 0), (H, 0x0300, 0)],
            vec![(16, 0x0901, 20_000), (16, 0x0900, 1), (16, 0x0901, 20_000)],
            (16, 0x0900, 0),
            vec![((H, 0x0502), 20_000)],
        ),
        (
            // A healthy status word, and half of the reference frequency: 8192 of 16384. Bit 11 of its control word reverses it.
            "siemens-v20",
            vec![(H, 109, 0xfa31), (H, 110, 0)],
            vec![(6, 100, 8_192), (6, 99, 0x047e), (6, 99, 0x047f), (6, 100, 8_192)],
            (6, 99, 0x047e),
            vec![((H, 110), 0x2000)],
        ),
        (
            "delta-ms300",
            vec![(H, 0x2100, 0), (H, 0x2103, 0), (H, 0x2104, 0)],
            vec![(6, 0x2001, 20_000), (6, 0x2000, 0x12), (6, 0x2001, 20_000)],
            (6, 0x2000, 1),
            vec![((H, 0x2103), 20_000)],
        ),
        (
            "wj200",
            // Its registers 1001h, 1002h and 1003h are sent as their number less 1; 0003h, behind F001, takes no write.
            vec![(Table::Coil, 23, 0), (H, 0x1000, 0), (H, 0x1001, 0), (H, 0x1002, 0)],
            vec![(16, 1, 20_000), (5, 1, 0), (5, 0, 0xff00), (16, 1, 20_000)],
            (5, 0, 0),
            vec![((H, 0x1001), 20_000)],
        ),
    ]
}

#[test]
fn every_bundled_drive_is_turned_and_stopped_as_its_own_documents_say() {
    let drives = drives();
    for (name, at_rest, start, stop, turning) in &drives {
        let device = Device::named(name).unwrap();
        let mut auxiliary = device.beside("spindle");
        auxiliary.is_spindle = true;
        assert_eq!(auxiliary.problems(), [], "{name}");
        let mut attached = Attached::new(auxiliary, Moment::ZERO);
        let registers: BTreeMap<_, _> = at_rest.iter().map(|(table, at, word)| ((*table, *at), *word)).collect();
        let rest: Vec<_> = turning.iter().map(|(at, _)| (*at, registers[at])).collect();
        // It turns when the last word of the start was written, and stands when the stop was.
        let last = start[start.len() - 1];
        let mut effects: Vec<_> = vec![(stop.0, stop.1, stop.2, rest)];
        effects.push((last.0, last.1, last.2, turning.clone()));
        effects.extend(start.iter().map(|word| (word.0, word.1, word.2, Vec::new())));
        let mut bench = Bench { registers, effects, written: Vec::new() };
        let mut now = Moment::ZERO;
        run(&mut attached, &mut bench, &mut now, Duration::from_secs(2));
        assert!(attached.take_notice().is_none() && bench.written.is_empty(), "{name} is healthy and left alone");

        attached.order(now, SpindleOrder { number: 1, turn: Turn::Forward(12_000.0) });
        run(&mut attached, &mut bench, &mut now, Duration::from_secs(2));
        assert_eq!(bench.written, *start, "{name}");
        let beside = attached.snapshot(now);
        assert_eq!(beside.spindle.unwrap().state, SpindleState::Reached, "{name}: {beside:#?}");
        assert!((beside.turns_rpm.unwrap() - 12_000.0).abs() < 12.0, "{name}: {:?}", beside.turns_rpm);

        bench.written.clear();
        attached.order(now, SpindleOrder { number: 2, turn: Turn::Stand });
        run(&mut attached, &mut bench, &mut now, Duration::from_secs(2));
        assert_eq!(bench.written[0], *stop, "{name}");
        let beside = attached.snapshot(now);
        assert_eq!(beside.spindle.unwrap().state, SpindleState::Reached, "{name}");
        assert_eq!((beside.hinders, attached.take_notice()), (None, None), "{name}");
    }
    let known = Device::bundled().iter().filter(|(_, text)| Device::parse(text).unwrap().kind == AuxiliaryKind::Drive);
    assert_eq!(known.count(), drives.len(), "a drive without a table of its own");
}

/// A drive, and what is written to turn it counter-clockwise, without the speed in front and behind.
type Reversed = (&'static str, Vec<(u8, u16, u16)>);

fn reversed() -> Vec<Reversed> {
    vec![
        ("huanyang-hy", vec![(6, 256, 0x11)]),
        ("huanyang-gt", vec![(6, 0x1000, 2)]),
        ("h2a", vec![(6, 0x2000, 2)]),
        ("h100", vec![(5, 0x4a, 0xff00)]),
        ("yl620", vec![(6, 0x2000, 0x22)]),
        ("nowforever", vec![(16, 0x0900, 3)]),
        ("siemens-v20", vec![(6, 99, 0x0c7e), (6, 99, 0x0c7f)]),
        ("delta-ms300", vec![(6, 0x2000, 0x22)]),
        ("wj200", vec![(5, 1, 0xff00), (5, 0, 0xff00)]),
    ]
}

#[test]
fn every_bundled_drive_is_reversed_as_its_own_documents_say() {
    let drives = drives();
    assert_eq!(drives.len(), reversed().len());
    for (name, commands) in reversed() {
        let (_, at_rest, start, stop, _) = drives.iter().find(|drive| drive.0 == name).unwrap();
        let mut auxiliary = Device::named(name).unwrap().beside("spindle");
        auxiliary.is_spindle = true;
        let mut attached = Attached::new(auxiliary, Moment::ZERO);
        let speed = start[0];
        let mut wanted = vec![speed];
        wanted.extend(&commands);
        wanted.push(speed);
        let effects = wanted.iter().chain([stop]).map(|write| (write.0, write.1, write.2, Vec::new())).collect();
        let registers = at_rest.iter().map(|(table, at, word)| ((*table, *at), *word)).collect();
        let mut bench = Bench { registers, effects, written: Vec::new() };
        let mut now = Moment::ZERO;
        run(&mut attached, &mut bench, &mut now, Duration::from_secs(2));
        attached.order(now, SpindleOrder { number: 1, turn: Turn::Reverse(12_000.0) });
        run(&mut attached, &mut bench, &mut now, Duration::from_secs(2));
        assert_eq!(bench.written, wanted, "{name}");
    }
}
