//! What Marlin's answers, errors and reports mean.

use crate::dialect::words::{self, Table};
use crate::dialect::{Card, Reply, host_action, printable};
use crate::snapshot::Identity;

/// `name`: the dialect's; `tables`: what its firmware says in words.
pub(super) fn read(name: &str, tables: &[Table], line: &[u8], heard: &mut Vec<Reply>) {
    let line = line.trim_ascii();
    if let Some(rest) = line.strip_prefix(b"ok") {
        if rest.is_empty() {
            return heard.push(Reply::Ok { number: None, planner_free: None, queue_free: None });
        }
        if rest.starts_with(b" ") {
            return read_ok(rest, heard);
        }
        return heard.push(Reply::Chatter);
    }
    if let Some(number) = read_resend(line) {
        return heard.push(Reply::Resend { number });
    }
    // Some builds say so without `echo:`.
    let text = line.strip_prefix(b"echo:").map_or(line, <[u8]>::trim_ascii);
    if let Some(busy) = text.strip_prefix(b"busy:") {
        return heard.push(read_busy(busy));
    }
    if let Some(card) = read_card(text) {
        return heard.push(Reply::Card(card));
    }
    if line == b"start" {
        return heard.push(Reply::Started);
    }
    if line == b"wait" {
        // Firmwares with `NO_TIMEOUTS` say so each second that their queue is empty (`get_serial_commands`, `queue.cpp`).
        return heard.push(Reply::WantsLines);
    }
    if line.starts_with(b"[MP] PV") {
        // The report of a MeatPack receiver (`feature/meatpack.cpp`).
        return heard.push(Reply::Unpacks { without_spaces: line.ends_with(b" NSP") });
    }
    if let Some(identity) = read_identity(line) {
        return heard.push(Reply::Identity(Box::new(identity)));
    }
    if read_temperatures(line, heard) || read_position(line, heard) {
        return;
    }
    if let Some(reply) = line.strip_prefix(b"echo:").and_then(|text| read_echo(text.trim_ascii())) {
        return heard.push(reply);
    }
    if let Some(reply) = words::read(name, tables, line) {
        return heard.push(reply);
    }
    heard.push(line.strip_prefix(b"//").map_or(Reply::Chatter, |text| host_action::read(text.trim_ascii())));
}

/// `Resend: 12`, `Resend:12`, `Resend 12`, `Resend: N12`, `Resend: N:12`, `rs 12`, `rs N12`, `rs:12`: builds differ in all of it
/// (OctoPrint pull request 1015).
fn read_resend(line: &[u8]) -> Option<u64> {
    let rest = [&b"resend"[..], b"rs"].into_iter().find_map(|word| {
        let start = line.get(..word.len()).filter(|start| start.eq_ignore_ascii_case(word))?;
        line.get(start.len()..)
    })?;
    let signs = rest.iter().take_while(|byte| matches!(byte, b' ' | b':' | b'N' | b'n')).count();
    if signs == 0 { None } else { number(&rest[signs..]) }
}

/// `ok`, `ok N12 P15 B3` (ADVANCED_OK), `ok T:20.1 /0.0 B:…` (the answer to M105).
fn read_ok(rest: &[u8], heard: &mut Vec<Reply>) {
    let mut line_number = None;
    let mut planner_free = None;
    let mut queue_free = None;
    let count = |digits| number(digits).and_then(|free| u32::try_from(free).ok());
    for word in rest.split(|byte| *byte == b' ') {
        match word.split_first() {
            Some((b'N', digits)) => line_number = number(digits),
            Some((b'P', digits)) => planner_free = count(digits),
            Some((b'B', digits)) => queue_free = count(digits),
            _ => {}
        }
    }
    heard.push(Reply::Ok { number: line_number, planner_free, queue_free });
    // What an answer tells besides may stand behind its numbers: `ok N9 P15 B4 X:13.0 Y:0.0 …`.
    let start = |key: &[u8]| {
        let begins = |at: &usize| *at == 0 || rest[*at - 1] == b' ';
        memchr::memmem::find_iter(rest, key).find(begins).map(|at| &rest[at..])
    };
    let temperatures = [&b"T:"[..], b"T0:", b"B:"].into_iter().filter_map(start).max_by_key(|told| told.len());
    // Behind a position stand the counts of its motors: `Count: A:9712 B:9087 C:425` is no bed of 9087 °C (OctoPrint's
    // virtual printer, and builds that call the motors so).
    let _ = start(b"X:").is_some_and(|told| read_position(told, heard))
        || temperatures.is_some_and(|told| read_temperatures(told, heard));
}

/// What stands behind `busy:`: "paused for user" and "paused for input" are M0, M1 and M600 waiting for somebody at the
/// machine.
fn read_busy(text: &[u8]) -> Reply {
    if text.trim_ascii().starts_with(b"paused for") { Reply::NeedsPerson } else { Reply::Busy }
}

/// What is said of a print from the card, in answer to M27 or unasked (Marlin `cardreader.cpp`, `language.h`; Repetier
/// `SDCard.cpp`; Smoothieware `Player.cpp`; Klipper `virtual_sdcard.py`, RepRapFirmware `GCodes2.cpp`).
fn read_card(line: &[u8]) -> Option<Card> {
    if let Some(rest) = line.strip_prefix(b"SD printing byte") {
        let mut numbers = rest.trim_ascii().splitn(2, |byte| *byte == b'/');
        let done = numbers.next().and_then(number);
        let size = numbers.next().and_then(number);
        return Some(Card::Printing(done.zip(size).map(|(done, size)| [done, size])));
    }
    if let Some(rest) = line.strip_prefix(b"File opened:") {
        let end = memchr::memmem::find(rest, b"Size:").unwrap_or(rest.len());
        return Some(Card::Opened(printable(&rest[..end])));
    }
    let starts = |words: &[&[u8]]| words.iter().any(|word| line.starts_with(word));
    if starts(&[b"File selected"]) {
        return Some(Card::Opened(String::new()));
    }
    let rest = [
        (&[&b"Not SD printing"[..]][..], Card::Rests),
        // RepRapFirmware's word for it is the second (`GCodes.cpp`).
        (&[b"Done printing file", b"Finished printing file"], Card::Done),
        // Prusa's (`cardreader.cpp`).
        (&[b"SD print paused"], Card::Paused),
    ];
    rest.into_iter().find(|(words, _)| starts(words)).map(|(_, card)| card)
}

/// What an `echo:` says that is no sentence for people.
fn read_echo(text: &[u8]) -> Option<Reply> {
    let value = text.strip_prefix(b"M86 ")?;
    Some(Reply::Setting("M86".to_owned(), printable(value)))
}

/// `FIRMWARE_NAME:Marlin … SOURCE_CODE_URL:… MACHINE_TYPE:… UUID:…` and `Cap:NAME:1`.
pub(in crate::dialect) fn read_identity(line: &[u8]) -> Option<Identity> {
    if let Some(capability) = line.strip_prefix(b"Cap:") {
        let capability = printable(capability);
        let (name, on) = capability.rsplit_once(':')?;
        let capabilities = if on == "1" { vec![name.to_owned()] } else { Vec::new() };
        return Some(Identity { capabilities, ..Identity::default() });
    }
    if !line.starts_with(b"FIRMWARE_NAME:") {
        return None;
    }
    let text = String::from_utf8_lossy(line);
    let field = |key: &str| {
        let start = text.find(key)? + key.len();
        let rest = &text[start..];
        // A value ends where the next upper-case `KEY:` begins.
        let end = rest
            .match_indices(' ')
            .find(|(at, _)| {
                let next = &rest[at + 1..];
                let key = next.split(':').next().unwrap_or_default();
                next.contains(':') && key.len() >= 4 && key.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
            })
            .map_or(rest.len(), |(at, _)| at);
        Some(printable(&rest.as_bytes()[..end])).filter(|value| !value.is_empty())
    };
    let name = field("FIRMWARE_NAME:").unwrap_or_default();
    let name = name.trim_end_matches(',');
    Some(Identity {
        firmware: field("FIRMWARE_VERSION:")
            .map_or_else(|| name.to_owned(), |version| format!("{name} {}", version.trim_end_matches(','))),
        machine: field("MACHINE_TYPE:"),
        uuid: field("UUID:"),
        ..Identity::default()
    })
}

/// `T:20.1 /0.0 B:21.0 /60.0 T0:… @:0 B@:0`; also `T0:`, `C:` (chamber).
pub(in crate::dialect) fn read_temperatures(line: &[u8], heard: &mut Vec<Reply>) -> bool {
    if !(line.starts_with(b"T:") || line.starts_with(b"T0:") || line.starts_with(b"B:")) {
        return false;
    }
    let mut found: Vec<(String, f64, Option<f64>)> = Vec::new();
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        let Some(colon) = memchr::memchr(b':', word) else { continue };
        let heater = match &word[..colon] {
            b"T" => ACTIVE.to_owned(),
            b"B" => "bed".to_owned(),
            b"C" => "chamber".to_owned(),
            [b'T', digits @ ..] if (1..=2).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
                format!("tool{}", number(digits).unwrap_or(0))
            }
            _ => continue,
        };
        // Marlin writes `T:20.1 /0.0`, others `T:20.1/0.0` or `T:20.1/ 0.0`.
        let reading = &word[colon + 1..];
        let slash = memchr::memchr(b'/', reading);
        let Some(actual) = decimal(&reading[..slash.unwrap_or(reading.len())]) else { continue };
        let target = match slash.map(|at| &reading[at + 1..]) {
            Some(rest) if !rest.is_empty() => decimal(rest),
            Some(_) => words.next_if(|next| next[0].is_ascii_digit()).and_then(decimal),
            None => words.next_if(|next| next.starts_with(b"/")).and_then(|next| decimal(&next[1..])),
        };
        // `T:220.4 /220.0 T0:50.4 /0.0 T1:220.4 /220.0`: `T` is the tool that is in use, and where the second tool is, some
        // firmwares say `T0` for that, too, and again for the first one behind it: the last one counts.
        match found.iter_mut().find(|(name, _, _)| *name == heater) {
            Some(known) => (known.1, known.2) = (actual, target),
            None => found.push((heater, actual, target)),
        }
    }
    // Tools that are named make the one in use known twice.
    if found.iter().any(|(name, _, _)| name.starts_with("tool")) {
        found.retain(|(name, _, _)| name != ACTIVE);
    } else if let Some(active) = found.iter_mut().find(|(name, _, _)| name == ACTIVE) {
        "tool0".clone_into(&mut active.0);
    }
    found.sort_by_key(|(name, _, _)| !name.starts_with("tool"));
    if found.is_empty() {
        return false;
    }
    heard.push(Reply::Temperatures(found));
    true
}

/// The tool that is in use, while it is not known which one that is.
const ACTIVE: &str = "T";

/// `X:0.00 Y:0.00 Z:0.00 E:0.00 Count X:0 Y:0 Z:0`: what stands before `Count` is in millimetres. Where that is no
/// number (`Y:inf`), it tells no position.
pub(in crate::dialect) fn read_position(line: &[u8], heard: &mut Vec<Reply>) -> bool {
    if !line.starts_with(b"X:") {
        return false;
    }
    let mut position = [None; 3];
    for word in line.split(|byte| *byte == b' ').take_while(|word| !word.starts_with(b"Count")) {
        for (axis, letter) in [b'X', b'Y', b'Z'].into_iter().enumerate() {
            if word.first() == Some(&letter) && word.get(1) == Some(&b':') {
                position[axis] = decimal(&word[2..]);
            }
        }
    }
    heard.push(match position {
        [Some(x), Some(y), Some(z)] => Reply::Position([x, y, z]),
        _ => Reply::NoPosition(printable(line)),
    });
    true
}

/// The decimal digits at the start, as a number.
pub(in crate::dialect) fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

fn decimal(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.trim().parse::<f64>().ok().filter(|value| value.is_finite())
}

#[cfg(test)]
mod test {
    use super::*;

    fn heard(line: &str) -> Vec<Reply> {
        let mut heard = Vec::new();
        read("marlin", super::super::MARLIN.words, line.as_bytes(), &mut heard);
        heard
    }

    #[test]
    fn an_advanced_ok_says_which_line_and_what_is_free() {
        assert_eq!(
            heard("ok N12 P15 B3"),
            [Reply::Ok { number: Some(12), planner_free: Some(15), queue_free: Some(3) }]
        );
        assert_eq!(heard("ok"), [Reply::Ok { number: None, planner_free: None, queue_free: None }]);
    }

    #[test]
    fn a_request_to_say_a_line_again_is_read_as_any_build_writes_it() {
        for line in [
            "Resend: 12",
            "Resend:12",
            "Resend 12",
            "Resend: N12",
            "Resend: N:12",
            "rs 12",
            "rs N12",
            "rs:12",
            "resend: 12",
        ] {
            assert_eq!(heard(line), [Reply::Resend { number: 12 }], "{line}");
        }
        for line in ["Resend:", "rs", "rs422 12", "Resending 12"] {
            assert_eq!(heard(line), [Reply::Chatter], "{line}");
        }
    }

    #[test]
    fn an_ok_may_carry_temperatures() {
        let replies = heard("ok T:201.3 /210.0 B:59.8 /60.0 T0:201.3 /210.0 @:127 B@:30");
        assert_eq!(replies.len(), 2);
        assert_eq!(
            replies[1],
            Reply::Temperatures(vec![("tool0".into(), 201.3, Some(210.0)), ("bed".into(), 59.8, Some(60.0)),])
        );
    }

    #[test]
    fn what_stands_behind_the_numbers_of_an_ok_is_read() {
        let ok = Reply::Ok { number: Some(9), planner_free: Some(15), queue_free: Some(4) };
        assert_eq!(heard("ok N9 P15 B4 X:13.0 Y:0 Z:0.2 E:1.0"), [ok.clone(), Reply::Position([13.0, 0.0, 0.2])]);
        let octoprints = "ok X:91.982 Y:92.468 Z:0.35 E:15.70164 Count: A:9198 B:9246 C:35";
        assert_eq!(heard(octoprints)[1..], [Reply::Position([91.982, 92.468, 0.35])], "and no bed of 9246 °C");
        assert_eq!(heard("ok N9 P15 B4 T:20.0 /0.0 B:21.0 /0.0")[1..].len(), 1);
        let bare = Reply::Ok { number: None, planner_free: None, queue_free: None };
        assert_eq!(heard("ok X:1.0 Y:2.0 Z:3.0"), [bare, Reply::Position([1.0, 2.0, 3.0])]);
    }

    #[test]
    fn a_position_that_is_no_number_is_told_from_noise() {
        assert_eq!(heard("X:84.43 Y:inf Z:4.80"), [Reply::NoPosition("X:84.43 Y:inf Z:4.80".into())]);
        assert_eq!(heard("wait"), [Reply::WantsLines]);
    }

    #[test]
    fn temperatures_are_read_however_the_target_is_set_off() {
        for line in ["T:20.1 /210.0 B:60.0 /60.0", "T:20.1/210.0 B:60.0/60.0", "ok T:20.1/ 210.0 B:60.0/ 60.0 @:64"] {
            let Some(Reply::Temperatures(found)) = heard(line).pop() else { panic!("{line}") };
            assert_eq!(found[0], ("tool0".into(), 20.1, Some(210.0)), "{line}");
            assert_eq!(found[1], ("bed".into(), 60.0, Some(60.0)), "{line}");
        }
    }

    #[test]
    fn every_spelling_of_a_resend_is_understood_and_nonsense_is_chatter() {
        for line in [
            "Resend: 12",
            "Resend:12",
            "rs 12",
            "rs N12 Expected checksum 12",
            "Resend: N12",
            "Resend: N:12",
            "Resend 12",
            "rs:12",
            "RS 12",
            "resend:N12",
        ] {
            assert_eq!(heard(line), [Reply::Resend { number: 12 }], "{line}");
        }
        assert_eq!(heard("Resend: hours"), [Reply::Chatter]);
        for line in ["rs12", "Resends 12", "rsvp 12"] {
            assert_eq!(heard(line), [Reply::Chatter], "{line}");
        }
        assert_eq!(heard("okk"), [Reply::Chatter]);
        assert_eq!(heard("o"), [Reply::Chatter]);
    }

    #[test]
    fn a_halted_machine_is_not_a_resend() {
        assert!(matches!(heard("Error:Printer halted. kill() called!")[0], Reply::Halted { .. }));
        let stopped = "Error:Printer stopped due to errors. Fix the error and use M999 to restart.";
        assert!(matches!(heard(stopped)[0], Reply::Halted { .. }), "it takes no moves any more");
        let each_move = stopped.strip_prefix("Error:").unwrap();
        assert!(
            matches!(heard(each_move)[0], Reply::Halted { .. }),
            "said for each move that is answered and not done"
        );
        assert_eq!(heard("Error:checksum mismatch, Last Line: 5"), [Reply::ChecksumError]);
        assert_eq!(heard("Error:Line Number is not Last Line Number+1, Last Line: 5"), [Reply::Gap]);
        let timeout = Reply::Setting("M86".into(), "B0 E0 S300 T180".into());
        assert_eq!(heard("echo:  M86 B0 E0 S300 T180"), [timeout]);
    }

    #[test]
    fn waiting_for_a_person_differs_from_being_busy() {
        assert_eq!(heard("echo:busy: processing"), [Reply::Busy]);
        assert_eq!(heard("echo:busy: paused for user"), [Reply::NeedsPerson]);
        assert_eq!(heard("busy:processing"), [Reply::Busy], "without `echo:` it is the same");
        assert_eq!(heard("busy: paused for input"), [Reply::NeedsPerson]);
    }

    #[test]
    fn a_print_from_the_card_is_told_from_none() {
        for (line, card) in [
            ("SD printing byte 123/4567", Card::Printing(Some([123, 4567]))),
            ("SD printing byte 50%", Card::Printing(None)),
            ("Not SD printing", Card::Rests),
            ("Not SD printing.", Card::Rests),
            ("Done printing file", Card::Done),
            ("Finished printing file cube.gcode, print time was 0h 1m", Card::Done),
            ("SD print paused", Card::Paused),
            ("File opened: CUBE.GCO Size: 12345", Card::Opened("CUBE.GCO".into())),
            ("File opened:cube.gcode Size:12345", Card::Opened("cube.gcode".into())),
            ("echo:File selected", Card::Opened(String::new())),
        ] {
            assert_eq!(heard(line), [Reply::Card(card)], "{line}");
        }
    }

    #[test]
    fn the_tool_in_use_is_not_taken_for_the_first_one_and_no_tool_vanishes() {
        let of = |line: &str| {
            let Some(Reply::Temperatures(found)) = heard(line).pop() else { panic!("{line}") };
            found
        };
        let found = of("ok T:220.36 /220.00 B:60.0 /60.0 T0:50.44 /0.00 T1:220.36 /220.00 @:0");
        assert_eq!(
            found,
            [
                ("tool0".into(), 50.44, Some(0.0)),
                ("tool1".into(), 220.36, Some(220.0)),
                ("bed".into(), 60.0, Some(60.0)),
            ]
        );
        // Marlin #23706: with the second tool in use, `T0` is said for it as well, in front of the first one's.
        let found = of("T0:220.36 /220.00 B:60.0 /60.0 T0:50.44 /0.00 T1:220.36 /220.00 @:0");
        assert_eq!(found[0], ("tool0".into(), 50.44, Some(0.0)));
        let many: Vec<String> = (0..12).map(|tool| format!("T{tool}:{tool}.5 /0.0")).collect();
        let found = of(&format!("ok T:3.5 /0.0 {}", many.join(" ")));
        assert_eq!(found.len(), 12);
        assert_eq!(found[10], ("tool10".into(), 10.5, Some(0.0)));
        assert_eq!(of("T:20.1 /0.0")[0].0, "tool0", "the only tool");
    }

    #[test]
    fn the_identity_comes_from_several_lines() {
        let replies = heard(
            "FIRMWARE_NAME:Marlin 2.1.2.4 (Jul 1 2024) SOURCE_CODE_URL:github.com/MarlinFirmware/Marlin \
             PROTOCOL_VERSION:1.0 MACHINE_TYPE:Ender-3 V2 EXTRUDER_COUNT:1 UUID:cede2a2f",
        );
        let Reply::Identity(identity) = &replies[0] else { panic!("{replies:?}") };
        assert_eq!(identity.firmware, "Marlin 2.1.2.4 (Jul 1 2024)");
        assert_eq!(identity.machine.as_deref(), Some("Ender-3 V2"));
        assert_eq!(identity.uuid.as_deref(), Some("cede2a2f"));
        let Reply::Identity(identity) = &heard("Cap:EMERGENCY_PARSER:1")[0] else { panic!() };
        assert_eq!(identity.capabilities, ["EMERGENCY_PARSER"]);
    }

    #[test]
    fn a_position_report_is_read_up_to_the_step_counts() {
        assert_eq!(heard("X:10.00 Y:-4.00 Z:0.20 E:1.00 Count X:800 Y:0 Z:80"), [Reply::Position([10.0, -4.0, 0.2])]);
    }
}
