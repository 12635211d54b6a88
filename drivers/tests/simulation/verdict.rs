//! What must hold after a run, and what no host could have seen.

use drivers::snapshot::JobPhase;

use crate::support::{Pair, commands};
use crate::surroundings::is_strangers;
use crate::{Played, Run};

/// Lines of one job whose damage may cancel in the checksum: one in 256 damaged lines at worst.
const DAMAGED_MAX: u32 = 3;

/// The same where a line that lost its asterisk is taken unchecked.
const UNCHECKED_DAMAGED_MAX: u32 = 24;

/// Bytes in which a line may differ from the one it was, however it was damaged.
const DAMAGED_BYTES_MAX: usize = 8;

/// A line that ran in the place of another is looked for this far around it.
const NEAR: usize = 64;

/// Smoothieware takes a line whose asterisk was lost unchecked, so also the two that prove the end of motion, which are
/// then counted as the program's.
const UNCHECKED_MAX: usize = 2;

/// Answers that a machine gives to pieces of lines that were cut in two, and that nobody can tell from others.
const PIECES_MAX: u64 = 2;

/// What the profile says when a job ends early.
const SAFE_END: [&str; 5] = ["M104 S0", "M140 S0", "M107", "M84", "M5"];

/// What came of a run, beside that nothing that must not happen did.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Lines that ran otherwise than they were written, in spite of a checksum.
    pub(crate) damaged_in_checksum: u32,
    /// Pieces of lines that ran because their number was cut off.
    pub(crate) stray: u64,
    /// A job that was called finished although the machine ran something else: only without a checksum.
    pub(crate) finished_otherwise: u32,
    /// Lines of such jobs.
    pub(crate) lines_otherwise: u32,
    /// Bytes lost in a full receive buffer, where answers were lost or doubled.
    pub(crate) overflow: u64,
    /// Moves that a damaged number made last for days, until somebody switched the machine off.
    pub(crate) exhausted: u32,
}

/// What must hold after every run.
pub(crate) fn check(run: &Run) -> Seen {
    let mut seen = Seen::default();
    let report = run.pair.report();
    let executed = report.executed_lines.as_ref().expect("kept lines");
    // Where lines carry no number, what another program said ran like everything else.
    let ours = |lines: &[String]| -> Vec<String> { lines.iter().filter(|line| !is_strangers(line)).cloned().collect() };
    let all = executed;
    let ours_before = |count: usize| ours(&all[..count.min(all.len())]).len();
    let executed = &ours(all);
    seen.stray = report.stray;
    seen.overflow = report.overflow;
    seen.exhausted = run.pair.exhausted;
    let said = || format!("{} SEED={}: {:?} {:?}", run.dialect, run.seed, run.played, run.pair.notices());
    // An answer to somebody else that is taken for one of ours makes room where there is none.
    if run.fate.answers_arrive() && run.fate.lines_arrive() && !run.around.has_stranger() {
        assert_eq!(report.overflow, 0, "{}: the receive buffer overflowed", said());
    }
    // Each job's part of what was executed: what the machine still held when the next began runs before it.
    let mut from = 0;
    for (at, played) in run.played.iter().enumerate() {
        let next = run.played.get(at + 1);
        let least = next.map_or(executed.len(), |next| ours_before(next.executed_before));
        let part = &executed[from.min(executed.len())..];
        let length = match next {
            None => part.len(),
            Some(next) => least + left_over(&executed[least..], played, &commands(&next.program)) - from,
        };
        check_job(run, played, &part[..length], &mut seen);
        from += length;
    }
    seen
}

/// Commands of an earlier job that ran after the next one was started: the machine had them already.
fn left_over(after: &[String], earlier: &Played, next: &[String]) -> usize {
    let earlier = commands(&earlier.program);
    (0..=after.len())
        .find(|at| after[*at..].first().is_none_or(|line| next.first() == Some(line)))
        .filter(|at| after[..*at].iter().all(|line| earlier.contains(line) || SAFE_END.contains(&line.as_str())))
        .unwrap_or(0)
}

fn check_job(run: &Run, played: &Played, executed: &[String], seen: &mut Seen) {
    let (dialect, fate) = (run.dialect, &run.fate);
    let job = &played.job;
    let mut commands = commands(&played.program);
    if run.around.cold {
        // Told of or not, nothing comes of a move that would push filament.
        commands.retain(|command| !command.contains('E'));
    }
    let said = format!("{dialect} SEED={}: {:?} {:?}", run.seed, job.phase, run.pair.notices());
    // No program here holds one of these: with the first of them begins the safe end, to which a lift may belong.
    let end = executed.iter().position(|line| SAFE_END.contains(&line.as_str())).unwrap_or(executed.len());
    let ran = &executed[..end];
    let checked = matches!(dialect, "marlin" | "repetier" | "smoothieware");
    // RepRapFirmware checks too, but passes over a damaged line in silence, and runs what a line end cut off. Without
    // checksums, what was on its way when the board restarted begins in the middle of a line.
    let stranger = run.around.has_stranger() && run.pair.report().overflow > 0;
    let all_arrive = fate.wire_keeps_all() && !fate.cuts_lines() && !stranger;
    if checked || all_arrive {
        let unchecked = if dialect == "smoothieware" { UNCHECKED_MAX } else { 0 };
        let damaged = in_order(ran, &commands, unchecked).unwrap_or_else(|why| panic!("{said}: {why}"));
        assert!(
            damaged == 0 || !fate.lines_arrive() || unchecked > 0,
            "{said}: {damaged} lines differ on a wire that spoils none"
        );
        let most = if unchecked == 0 { DAMAGED_MAX } else { UNCHECKED_DAMAGED_MAX };
        assert!(damaged <= most, "{said}: {damaged} lines differ");
        if job.phase == JobPhase::Finished {
            let most = if unchecked == 0 { 0 } else { damaged as usize + unchecked };
            assert!(ran.len().abs_diff(commands.len()) <= most, "{said}: ran {}", ran.len());
        }
        seen.damaged_in_checksum += damaged;
    } else if job.phase == JobPhase::Finished && ran != commands {
        seen.finished_otherwise += 1;
        let differ = ran.iter().zip(&commands).filter(|(ran, command)| ran != command).count();
        seen.lines_otherwise += if ran.len() == commands.len() { differ as u32 } else { 1 };
    }
    // What somebody began there just behind the last line is none of the job.
    let moving = played.moving && !run.around.moves_itself();
    assert!(job.phase != JobPhase::Finished || !moving, "{said}: finished while it moved");
    assert!(job.executed <= job.accepted && job.accepted <= job.sent, "{said}: {job:?}");
}

/// Whether these are the program's first lines, each once and in order; how many of them arrived damaged.
fn in_order(ran: &[String], commands: &[String], unchecked: usize) -> Result<u32, String> {
    if unchecked > 0 {
        return Ok(aligned(ran, commands));
    }
    if ran.len() > commands.len() {
        return Err(format!("{} lines ran of {}", ran.len(), commands.len()));
    }
    let mut damaged = 0;
    for (at, (line, command)) in ran.iter().zip(commands).enumerate() {
        if line == command {
            continue;
        }
        damaged += 1;
        let around = at.saturating_sub(NEAR)..(at + NEAR).min(commands.len());
        if commands[around].contains(line) {
            return Err(format!("`{line}` ran in the place of `{command}`, command {}", at + 1));
        }
        let near = |one: &str, other: &str| distance(one.as_bytes(), other.as_bytes()) <= DAMAGED_BYTES_MAX;
        if !near(line, command) && !first_of_glued(line).any(|first| near(first, command)) {
            return Err(format!("`{line}` ran where `{command}` was said, command {}", at + 1));
        }
    }
    Ok(damaged)
}

/// What may be the first of two lines in one: the checksum is that of the second, and the exclusive-or of the first happened
/// to be zero. Of the first, its checksum may be there (`G1X1*85N7 G1X2`) or have gone with its end (`G1XN7 G1X2`).
fn first_of_glued(line: &str) -> impl Iterator<Item = &str> {
    let numbered = |(at, _): &(usize, &str)| line[at + 1..].starts_with(|next: char| next.is_ascii_digit());
    let second = line.match_indices('N').find(numbered).map(|(at, _)| &line[..at]);
    line.split_once('*').map(|(first, _)| first).into_iter().chain(second)
}

/// Lines that ran otherwise, besides or not at all, where a line may be taken unchecked. What ran and what was said are
/// brought together again behind each of them, at the nearest two lines that are alike.
fn aligned(ran: &[String], commands: &[String]) -> u32 {
    let (mut here, mut there, mut damaged) = (0, 0, 0);
    while here < ran.len() && there < commands.len() {
        if ran[here] == commands[there] {
            (here, there) = (here + 1, there + 1);
            continue;
        }
        let alike = |(more, fewer): &(usize, usize)| {
            let (ran, said) = (&ran[(here + more).min(ran.len())..], &commands[(there + fewer).min(commands.len())..]);
            !ran.is_empty() && ran.iter().zip(said).take(2).all(|(ran, said)| ran == said)
        };
        let near = (1..NEAR).flat_map(|sum| (0..=sum).map(move |more| (more, sum - more)));
        let (more, fewer) = near.into_iter().find(alike).unwrap_or((1, 1));
        damaged += more.max(fewer) as u32;
        (here, there) = (here + more, there + fewer);
    }
    damaged + ran.len().saturating_sub(here) as u32
}

/// Bytes to change, add or leave out to make one line of the other.
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let least = (diagonal + usize::from(a != b)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], least);
        }
    }
    row[other.len()]
}

/// What the session claims while a job runs, which may never be ahead of the machine.
pub(crate) struct Claims {
    said: String,
    /// Commands the machine had executed before the job.
    executed_before: u64,
    /// Whether the session's count of lines and the machine's are of the same lines.
    comparable: bool,
    /// How far they may differ.
    slack: u64,
}

impl Claims {
    pub(crate) fn of(run: &Run, executed_before: u64) -> Self {
        let numbered = matches!(run.dialect, "marlin" | "repetier");
        Self {
            said: format!("{} SEED={}", run.dialect, run.seed),
            executed_before,
            // What is damaged on its way back (a digit in a report of free blocks) nobody can tell from the truth.
            slack: if run.fate.lines_arrive() { 0 } else { PIECES_MAX } + run.around.strange_answers(),
            // Lines that check mode swallows are answered like others, until the next report says so.
            comparable: !run.around.cold
                && !run.around.checks()
                && ((numbered && run.fate.answers_arrive()) || (run.fate.wire_keeps_all() && !run.fate.cuts_lines())),
        }
    }

    pub(crate) fn check(&self, pair: &Pair) {
        let Some(job) = pair.session.snapshot().job else { return };
        assert!(job.executed <= job.accepted && job.accepted <= job.sent, "{}: {job:?}", self.said);
        let done = pair.machine.completed().saturating_sub(self.executed_before);
        let ahead = self.comparable && job.executed > done + self.slack;
        assert!(!ahead, "{}: says that {} were executed, and {done} were", self.said, job.executed);
    }
}
