//! The link doctor: what the wire's counters mean, in one sentence that names the likely cause.

use crate::notice::Notice;
use crate::snapshot::LinkCounters;

/// Fewer damaged lines than this say nothing about their cause.
const DAMAGE_MIN: u64 = 3;

/// How many times more often a line must be damaged with the spindle on than off before the spindle is blamed.
const SPINDLE_FACTOR: u64 = 4;

/// Bytes that must have been said in each condition before they are compared.
const EXPOSED_BYTES_MIN: u64 = 500;

/// Bytes heard before noise from a wrong baud rate is told from the first bytes of an opening port.
const HEARD_BYTES_MIN: u64 = 32;

/// What the agent did about lines and answers that were lost.
const LOST_SAID_AGAIN: &str = "What was lost was said again where the machine could ask for it.";

/// What helps against noise.
const SHIELD: &str = "Use a shorter shielded cable without a hub, and lead it away from motors and mains.";

/// What is known of the computer itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether its supply voltage is too low now, where it can say so.
    pub undervoltage: Option<bool>,
    /// Whether it was too low since it started.
    pub undervoltage_since_start: Option<bool>,
}

/// The likely cause of what the wire's counters show; nothing if they show nothing.
pub fn diagnose(link: &LinkCounters, identified: bool, around: Surroundings) -> Option<Notice> {
    let damaged = link.damaged();
    let troubled = damaged > 0 || link.answers_lost > 0 || link.late_host > 0;
    if !identified && link.bytes_in >= HEARD_BYTES_MIN && link.garbage_bytes * 4 > link.bytes_in {
        return Some(Notice::new(
            "link.wrong_baud",
            format!("{} of {} bytes heard are no text: the baud rate is wrong.", link.garbage_bytes, link.bytes_in),
            "No job was sent.",
            "Set the baud rate the machine has (115200 and 250000 are usual); `fab-agent ports --probe` finds it.",
        ));
    }
    let low = around.undervoltage == Some(true) || (around.undervoltage_since_start == Some(true) && troubled);
    if low && troubled {
        return Some(Notice::new(
            "link.undervoltage",
            if around.undervoltage == Some(true) {
                "The computer's supply voltage is too low, and its USB ports suffer first."
            } else {
                "The computer's supply voltage was too low since it started, and its USB ports suffer first."
            },
            LOST_SAID_AGAIN,
            "Use a supply with enough current and a short thick cable; power the machine's board by itself.",
        ));
    }
    if let Some(overflow) = overflow(link) {
        return Some(overflow);
    }
    if damaged >= DAMAGE_MIN {
        return Some(damage(link, damaged));
    }
    if link.answers_lost >= DAMAGE_MIN {
        return Some(Notice::new(
            "link.noise",
            format!("{} lines or their answers were lost on their way: there is noise on the line.", link.answers_lost),
            LOST_SAID_AGAIN,
            SHIELD,
        ));
    }
    if link.late_host > 0 && (link.underruns > 0 || link.late_host >= DAMAGE_MIN || link.starved_ms > 1_000) {
        return Some(Notice::new(
            "link.late_host",
            format!(
                "The computer was late {}, by up to {} ms, {}.",
                times(link.late_host),
                link.late_host_max_ms,
                match link.underruns {
                    0 => "and the machine may have waited for it".to_owned(),
                    underruns => format!("and the machine ran out of moves {}", times(underruns)),
                }
            ),
            "The job went on each time.",
            "Give the agent's computer less other work (cameras, updates), or a faster one.",
        ));
    }
    if link.starved_ms > 1_000 {
        return Some(Notice::new(
            "link.late_host",
            format!("For {} ms the machine could have taken more, and its program was not read yet.", link.starved_ms),
            "The job went on each time.",
            "Check the disk or SD card the programs are kept on: it is slow or worn.",
        ));
    }
    if link.underruns >= DAMAGE_MIN {
        return Some(Notice::new(
            "link.too_slow",
            format!("The machine ran out of moves {} times while the line was busy.", link.underruns),
            "The job went on each time.",
            "The program has more short moves than the line carries: raise the baud rate or the program's resolution.",
        ));
    }
    None
}

/// Lines without numbers that were lost in a receive buffer that is smaller than said. A program's own mistakes are
/// refused too, but answered; and noise spoils what is heard as well.
fn overflow(link: &LinkCounters) -> Option<Notice> {
    let heard_well = link.chatter == 0 && link.garbage_bytes == 0 && link.damaged_heard == 0;
    let lost = link.lost_beyond_usual;
    if !heard_well || !(lost >= DAMAGE_MIN || (lost > 0 && link.answers_lost > 0)) {
        return None;
    }
    Some(Notice::new(
        "link.buffer_overflow",
        format!(
            "{lost} lines were refused or never answered, each while more was on its way than this firmware's usual \
             receive buffer holds, and nothing that was heard was damaged: the buffer is smaller than said."
        ),
        "No more than the usual buffer holds is on its way since.",
        "Set a smaller `stream.receive_buffer_bytes` in the machine's profile.",
    ))
}

/// A count in words.
fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// What damaged the lines: the machine's own buffer, the spindle, or noise of any kind.
fn damage(link: &LinkCounters, damaged: u64) -> Notice {
    let said_again = "They were said again where the machine could ask for them.";
    // Noise spoils both directions and any line; a buffer that is too small spoils what is said when it is full.
    let heard_well = link.chatter == 0 && link.garbage_bytes == 0 && link.answers_lost * 4 <= damaged;
    if heard_well && link.damaged_when_full * 10 >= damaged * 9 && damaged * 50 >= link.lines_out {
        return Notice::new(
            "link.buffer_overflow",
            format!(
                "{damaged} lines arrived damaged, each while much was on its way, and nothing that was heard was: the \
                 machine's receive buffer is smaller than the profile says."
            ),
            said_again,
            "Set a smaller `stream.receive_buffer_bytes` or `stream.window_lines` in the machine's profile.",
        );
    }
    let off = (damaged - link.damaged_spindle_on.min(damaged), link.bytes_out.saturating_sub(link.bytes_spindle_on));
    let on = (link.damaged_spindle_on, link.bytes_spindle_on);
    let exposed = on.1 >= EXPOSED_BYTES_MIN && off.1 >= EXPOSED_BYTES_MIN;
    // Compared without division: damaged on / bytes on against damaged off / bytes off.
    if exposed && on.0 >= DAMAGE_MIN && on.0.saturating_mul(off.1) >= SPINDLE_FACTOR * off.0.max(1).saturating_mul(on.1)
    {
        return Notice::new(
            "link.noise_spindle",
            format!("{} of {damaged} damaged lines were damaged while the spindle ran: it disturbs the line.", on.0),
            said_again,
            "Lead the USB cable away from the spindle and its drive, use a short shielded one, and ground the frame.",
        );
    }
    Notice::new(
        "link.noise",
        format!("{damaged} of {} lines arrived damaged: there is noise on the line.", link.lines_out.max(damaged)),
        said_again,
        SHIELD,
    )
}

#[cfg(test)]
mod test {
    use super::*;

    fn cause(link: LinkCounters, identified: bool) -> Option<String> {
        diagnose(&link, identified, Surroundings::default()).map(|notice| notice.code)
    }

    #[test]
    fn a_clean_line_has_no_cause_and_two_damaged_lines_have_none_either() {
        let clean =
            LinkCounters { bytes_out: 1_000_000, bytes_in: 100_000, lines_out: 30_000, ..LinkCounters::default() };
        assert_eq!(cause(clean, true), None);
        assert_eq!(cause(LinkCounters { checksum_errors: 2, resends: 2, ..clean }, true), None);
    }

    #[test]
    fn undervoltage_explains_trouble_and_nothing_else() {
        let link = LinkCounters { checksum_errors: 5, lines_out: 500, ..LinkCounters::default() };
        let low = Surroundings { undervoltage: Some(true), undervoltage_since_start: Some(true) };
        assert_eq!(diagnose(&link, true, low).map(|notice| notice.code).as_deref(), Some("link.undervoltage"));
        assert_eq!(diagnose(&LinkCounters::default(), true, low), None);
        let over = Surroundings { undervoltage: Some(false), ..low };
        assert!(diagnose(&link, true, over).unwrap().happened.contains("was too low since it started"));
    }

    #[test]
    fn answers_that_never_come_are_noise_even_where_no_damage_is_told() {
        let link = LinkCounters { answers_lost: 3, lines_out: 500, ..LinkCounters::default() };
        assert_eq!(cause(link, true).as_deref(), Some("link.noise"));
    }

    #[test]
    fn a_late_computer_is_told_from_a_slow_disk_and_a_slow_line() {
        let late = LinkCounters { late_host: 4, late_host_max_ms: 900, underruns: 3, ..LinkCounters::default() };
        assert_eq!(cause(late, true).as_deref(), Some("link.late_host"));
        let said = |underruns| {
            let link = LinkCounters { underruns, ..late };
            diagnose(&link, true, Surroundings::default()).unwrap().happened
        };
        assert!(said(1).ends_with("by up to 900 ms, and the machine ran out of moves once."), "{}", said(1));
        assert!(said(0).ends_with("and the machine may have waited for it."), "nothing shows that it did");
        let disk =
            diagnose(&LinkCounters { starved_ms: 4_000, ..LinkCounters::default() }, true, Surroundings::default());
        assert!(disk.unwrap().to_do.contains("disk"));
        assert_eq!(
            cause(LinkCounters { underruns: 30, ..LinkCounters::default() }, true).as_deref(),
            Some("link.too_slow")
        );
    }
}
