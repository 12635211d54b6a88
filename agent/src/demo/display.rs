//! The demo's progress bars, one for each machine; nothing where nobody looks.

use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Bars are redrawn this often, so that heating machines look alive.
const TICK: Duration = Duration::from_millis(200);

/// The bars of all machines.
#[derive(Debug)]
pub(crate) struct Display {
    bars: MultiProgress,
    quiet: bool,
}

impl Display {
    /// Bars on the terminal; none if standard error is none.
    pub(crate) fn new() -> Self {
        Self { bars: MultiProgress::new(), quiet: false }
    }

    /// No bars and no words.
    pub(crate) fn hidden() -> Self {
        Self { bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()), quiet: true }
    }

    /// A sentence above the bars.
    pub(crate) fn say(&self, sentence: &str) {
        // A terminal that is gone is no reason to stop.
        let _ = match (self.quiet, self.bars.is_hidden()) {
            (true, _) => Ok(()),
            // Bars that are written to a file stay silent; words need not.
            (false, true) => writeln!(std::io::stderr(), "{sentence}"),
            (false, false) => self.bars.println(sentence),
        };
    }

    /// A machine's bar.
    pub(crate) fn bar(&self, machine: &str) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(0));
        if let Ok(style) = ProgressStyle::with_template("{prefix:>8} [{bar:32}] {pos:>5}/{len:5} {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(machine.to_owned());
        bar.enable_steady_tick(TICK);
        bar
    }

    /// Takes the bars away.
    pub(crate) fn clear(&self) {
        let _ = self.bars.clear();
    }
}
